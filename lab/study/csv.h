#pragma once
#include <gradus/data/dataset.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::lab {

/// A table's text, and the notes above it: lines "# ..." that say how it came to be.
struct NotedTable {
  std::vector<std::string> notes;
  std::string table;
};
NotedTable split_notes(const std::string& text);
/// The inverse.
std::string join_notes(const NotedTable& noted);

/// Calls `line(where, cells)` for each line below the header of a CSV without quotes, which must be
/// this one, but for notes above it; an error names the line whose cells are not as many.
void read_csv(const std::string& what, const std::string& text, std::string_view header,
              const std::function<void(const std::string& where,
                                       const std::vector<std::string_view>& cells)>& line);

/// FNV-1a: tells texts apart.
uint32_t fnv1a(std::string_view text);
/// The same of data: shapes and elements of all tensors.
uint32_t checksum(const Split& data);

/// A cell's number; an error at `where` if it is none.
double csv_number(const std::string& where, std::string_view text);

}  // namespace gradus::lab

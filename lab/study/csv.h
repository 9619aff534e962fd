#pragma once
#include <gradus/base/error.h>

#include <charconv>
#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
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

/// A cell's number; an error at `where` if it is none, or none of T.
template <class T = double>
T csv_number(const std::string& where, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size(), "{}: '{}' is no {}number", where,
        text, std::integral<T> ? "whole " : "");
  return value;
}

}  // namespace gradus::lab

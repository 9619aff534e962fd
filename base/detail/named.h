#pragma once
#include <fmt/format.h>
#include <gradus/base/error.h>

#include <vector>

namespace gradus::detail {

/// The names of a table's rows, in its order.
template <class Table>
std::vector<std::string> names(const Table& table) {
  std::vector<std::string> result;
  for (const auto& row : table) result.emplace_back(row.name);
  return result;
}

/// The table's row of this name; an error that begins with `what` and lists the names.
template <class Table>
const auto& find(const char* what, const Table& table, std::string_view name) {
  for (const auto& row : table)
    if (name == row.name) return row;
  fail("{}: '{}' is none of {}", what, name, fmt::join(names(table), ", "));
}

}  // namespace gradus::detail

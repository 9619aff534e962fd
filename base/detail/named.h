#pragma once
#include <fmt/format.h>
#include <gradus/base/error.h>

#include <algorithm>
#include <string_view>
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

/// Rows that enter themselves in a list, each with a `next`, sorted by their names.
template <class Row>
std::vector<Row*> sorted_rows(Row* first) {
  std::vector<Row*> rows;
  for (Row* row = first; row; row = row->next) rows.push_back(row);
  std::sort(rows.begin(), rows.end(),
            [](Row* a, Row* b) { return std::string_view(a->name) < b->name; });
  return rows;
}

}  // namespace gradus::detail

#include "lab/study/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace gradus::lab {

namespace {

std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  for (size_t begin = 0;;) {
    const size_t end = line.find(',', begin);
    cells.push_back(line.substr(begin, end - begin));
    if (end == line.npos) return cells;
    begin = end + 1;
  }
}

}  // namespace

NotedTable split_notes(const std::string& text) {
  NotedTable noted;
  size_t at = 0;
  while (text.compare(at, 2, "# ") == 0) {
    const size_t end = std::min(text.find('\n', at), text.size());
    noted.notes.push_back(text.substr(at + 2, end - at - 2));
    at = std::min(end + 1, text.size());
  }
  noted.table = text.substr(at);
  return noted;
}

std::string join_notes(const NotedTable& noted) {
  std::string text;
  for (const std::string& note : noted.notes) text += "# " + note + "\n";
  return text + noted.table;
}

void read_csv(
    const std::string& what, const std::string& text, std::string_view header,
    const std::function<void(const std::string&, const std::vector<std::string_view>&)>& line) {
  const NotedTable noted = split_notes(text);
  std::istringstream in(noted.table);
  std::string current;
  check(std::getline(in, current) && current == header, "{}: its header is not {}", what, header);
  const size_t columns = cells_of(header).size();
  for (size_t count = noted.notes.size() + 2; std::getline(in, current); ++count) {
    const std::string where = fmt::format("{}, line {}", what, count);
    const auto cells = cells_of(current);
    check(cells.size() == columns, "{}: {} cells, not {}", where, cells.size(), columns);
    line(where, cells);
  }
}

}  // namespace gradus::lab

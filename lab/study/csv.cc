#include "lab/study/csv.h"

#include <fmt/format.h>

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

void read_csv(
    const std::string& what, const std::string& text, std::string_view header,
    const std::function<void(const std::string&, const std::vector<std::string_view>&)>& line) {
  std::istringstream in(text);
  std::string current;
  check(std::getline(in, current) && current == header, "{}: its header is not {}", what, header);
  const size_t columns = cells_of(header).size();
  for (int64_t count = 2; std::getline(in, current); ++count) {
    const std::string where = fmt::format("{}, line {}", what, count);
    const auto cells = cells_of(current);
    check(cells.size() == columns, "{}: {} cells, not {}", where, cells.size(), columns);
    line(where, cells);
  }
}

}  // namespace gradus::lab

#include "lab/study/csv.h"

#include <fmt/format.h>

#include <charconv>
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

uint32_t fnv1a(std::string_view text) {
  uint32_t hash = 2166136261U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash;
}

uint32_t checksum(const Split& data) {
  std::string text;
  for (const Dataset* part : {&data.train, &data.test})
    for (const auto& [name, x] : part->tensors()) {
      const Tensor values = raw::contiguous(x);
      const auto bytes = static_cast<size_t>(x.numel()) * size_of(x.dtype());
      text +=
          fmt::format("{} {} {} {};", name, x.shape(), x.dtype(), fnv1a({values.bytes(), bytes}));
    }
  return fnv1a(text);
}

double csv_number(const std::string& where, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size(), "{}: '{}' is no number", where,
        text);
  return value;
}

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

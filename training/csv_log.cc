#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gradus/base/file.h>
#include <gradus/training/csv_log.h>

#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace gradus {

namespace {

/// The first of a line's numbers, of which there must be so many.
double first_number(const std::string& where, std::string_view line, size_t columns) {
  double first = 0;
  size_t found = 0;
  const char *at = line.data(), *const end = at + line.size();
  for (bool more = true; more; ++found) {
    double value = 0;
    const auto [stop, failure] = std::from_chars(at, end, value);
    check(failure == std::errc() && (stop == end || *stop == ','), "{}: '{}' is no line of numbers",
          where, line);
    if (found == 0) first = value;
    more = stop != end;
    at = stop + 1;
  }
  check(found == columns, "{}: {} numbers for {} columns", where, found, columns);
  return first;
}

/// The header, and those lines of the file, if there is one, whose first number is below `from`.
std::string kept_lines(const std::string& path, const std::vector<std::string>& columns,
                       int64_t from) {
  std::string kept = fmt::format("{}\n", fmt::join(columns, ","));
  if (from <= 0 || !std::filesystem::exists(path)) return kept;
  const std::string text = read_file(path);
  if (kept.starts_with(text)) return kept;  // a header that was not finished
  check(text.starts_with(kept), "{}: its columns are '{}', not '{}'", path,
        text.substr(0, text.find('\n')), fmt::join(columns, ","));
  size_t line = 1;
  for (size_t at = kept.size(), end = 0; (end = text.find('\n', at)) != std::string::npos;
       at = end + 1) {
    const std::string_view row = std::string_view(text).substr(at, end - at);
    const std::string where = fmt::format("{}, line {}", path, ++line);
    if (first_number(where, row, columns.size()) < static_cast<double>(from))
      kept.append(row).push_back('\n');
  }
  return kept;
}

}  // namespace

CsvLog::CsvLog(std::string path, const std::vector<std::string>& columns, int64_t from)
    : path_(std::move(path)), columns_(columns.size()) {
  check(!columns.empty(), "CsvLog: {} without columns", path_);
  for (const std::string& name : columns)
    check(!name.empty() && name.find_first_of(",\"\r\n") == std::string::npos,
          "CsvLog: '{}' is no name of a column", name);
  const std::string kept = kept_lines(path_, columns, from);
  write_file(path_, [&](std::ostream& file) { file << kept; });
  file_ = std::make_unique<std::ofstream>(path_, std::ios::app | std::ios::binary);
  if (!*file_) throw WriteError(fmt::format("{}: {}", path_, std::strerror(errno)));
}

CsvLog::~CsvLog() = default;

void CsvLog::write_line(std::initializer_list<double> values) {
  check(values.size() == columns_, "CsvLog: {} values for the {} columns of {}", values.size(),
        columns_, path_);
  *file_ << fmt::format("{}\n", fmt::join(values, ",")) << std::flush;
  if (!*file_) throw WriteError(fmt::format("{}: {}", path_, std::strerror(errno)));
}

}  // namespace gradus

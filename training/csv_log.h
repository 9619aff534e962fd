#pragma once
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace gradus {

/// A CSV of numbers that grows by a line at a time, each of which is in the file when write()
/// returns: a training that is killed loses none, and people look at it meanwhile, also by
/// `gradus plot FILE`.
///
///     CsvLog log("metrics.csv", {"step", "loss", "accuracy"}, step);
///     log.write(step, loss, accuracy);
class CsvLog {
 public:
  /// Goes on in a file of these columns: its lines whose first column is below `from` stay, others,
  /// which a training that resumes at `from` writes again, and a line that was not finished, go.
  /// Without a file, or from the beginning, a new one. Errors: no columns, names that are empty or
  /// have a comma, a quote or a line's end, a file of other columns or with a line that is not such
  /// numbers, which stays as it is; what the system refuses is a WriteError.
  CsvLog(std::string path, const std::vector<std::string>& columns, int64_t from = 0);
  ~CsvLog();
  /// Appends a line, numbers as short as they are exact. Errors: as many values as there are not
  /// columns; what the system refuses is a WriteError.
  template <class... Numbers>
  requires(...&& std::is_arithmetic_v<Numbers>) void write(Numbers... values) {
    write_line({static_cast<double>(values)...});
  }

 private:
  void write_line(std::initializer_list<double> values);

  std::string path_;
  size_t columns_;
  std::unique_ptr<std::ofstream> file_;
};

}  // namespace gradus

#pragma once
#include <gradus/data/vocabulary.h>

#include <optional>
#include <utility>
#include <variant>

namespace gradus {

/// How a CSV file is written.
struct CsvOptions {
  char delimiter = ',';  ///< between fields
  bool header = true;  ///< whether the first record names the columns; else they are "0", "1", ...
  /// What stands where a value is missing.
  std::vector<std::string> missing = {"", "NA", "N/A", "NaN", "nan", "NULL", "null"};
};

/// A table of text with named columns: what a CSV file holds, N records. Errors name the file, and
/// the line and column of the cell, counted from 1.
class Table {
 public:
  /// N
  int64_t size() const;
  /// The columns' names, in the file's order.
  const std::vector<std::string>& columns() const& { return columns_; }
  std::vector<std::string> columns() const&& { return columns_; }
  bool has(std::string_view column) const;

  /// Columns of numbers. What is missing becomes `missing`; without that it is an error, as is what
  /// is no number or beyond the dtype. Blanks around a number do not count.
  /// dtype: f32, f64, i64   result: (N, number of columns)
  Tensor numbers(const std::vector<std::string>& columns, DType dtype = DType::f32,
                 std::optional<double> missing = {}) const;
  /// Where a value is missing.   result: (N, number of columns) bool
  Tensor missing(const std::vector<std::string>& columns) const;
  /// A column's text as it stands in the file, without its quotes.
  std::vector<std::string> text(std::string_view column) const;
  /// The different values of a column, sorted; one that is missing is the empty one.
  Vocabulary categories(std::string_view column) const;
  /// A column's categories as ids, those of the training table for a test table, too. One that it
  /// does not have is an error, unless it has "<unk>".   result: (N) i64
  Tensor ids(std::string_view column, const Vocabulary& categories) const;
  /// The same, each row with a 1 at the id's place.   result: (N, categories.size())
  Tensor one_hot(std::string_view column, const Vocabulary& categories,
                 DType dtype = DType::f32) const;
  /// The records in which nothing is missing.
  Table drop_missing() const;

 private:
  friend Table load_csv(const std::string& path, const CsvOptions& options);
  class Reader;
  struct Cell {
    uint32_t begin, end;  // in text_, with its quotes
  };
  size_t rows() const;
  size_t place(std::string_view column) const;
  std::vector<size_t> places(const std::vector<std::string>& columns) const;
  const Cell& cell(size_t row, size_t place) const;
  std::string value(const Cell& cell) const;
  bool is_missing(const std::string& value) const;
  std::string where(const Cell& cell) const;

  std::string path_, text_;
  std::vector<std::string> columns_, missing_;
  std::vector<Cell> cells_;  // record by record
};

/// Reads a CSV file (RFC 4180; gzipped or not, of up to 4 GiB): fields may be quoted, a quote
/// within them is doubled, lines end with LF, CRLF or CR. Empty lines and a byte order mark are
/// passed over. Records of different lengths, two columns of one name, and quotes that stand
/// elsewhere are errors that name the line and column.
Table load_csv(const std::string& path, const CsvOptions& options = {});

/// A column to be written: a tensor (N) or (N, 1) of any dtype, or text.
using CsvColumn = std::variant<Tensor, std::vector<std::string>>;

/// Writes a CSV file (RFC 4180, lines ended by LF) with a header of the columns' names: numbers in
/// the shortest form that gives the same when read, NaN as nothing, true as 1. It appears whole or
/// not at all.
void save_csv(const std::string& path,
              const std::vector<std::pair<std::string, CsvColumn>>& columns, char delimiter = ',');

}  // namespace gradus

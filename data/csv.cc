#include <gradus/base/detail/json.h>
#include <gradus/base/file.h>
#include <gradus/data/csv.h>
#include <gradus/data/gzip.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <ostream>
#include <unordered_set>

namespace gradus {

namespace {

constexpr uint64_t kMostBytesOfATable = std::numeric_limits<uint32_t>::max();
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf", kBlanks = " \t";

void check_delimiter(const char* what, char delimiter) {
  check(delimiter != '"' && delimiter != '\r' && delimiter != '\n',
        "{}: neither a quote nor a line's end can stand between fields", what);
}

/// "3:14", the line and column of text[at].
std::string line_and_column(const std::string& text, size_t at) {
  int64_t line = 1;
  size_t begin = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  for (size_t i = begin; i < at; ++i)
    if (text[i] == '\n' || (text[i] == '\r' && text[i + 1] != '\n')) {
      ++line;
      begin = i + 1;
    }
  const auto is_first_byte = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  const auto* const start = text.data() + begin;
  return fmt::format("{}:{}", line, 1 + std::count_if(start, text.data() + at, is_first_byte));
}

/// Why a text is no number of the type; null if it is one.
template <class T>
const char* parse(std::string_view text, T& value) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin != std::string_view::npos)
    text = text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc::invalid_argument || end != text.data() + text.size())
    return std::is_integral_v<T> ? "is no integer" : "is no number";
  if constexpr (std::is_integral_v<T>) {
    return failure == std::errc() ? nullptr : "is beyond the dtype's range";
  } else {
    // What is NaN however it is written is a missing value, and told before.
    if (failure == std::errc()) return std::isnan(value) ? "is no number" : nullptr;
    long double wide = 0;  // of a larger range: either too large, or too small to be told from 0
    std::from_chars(text.data(), text.data() + text.size(), wide);
    if (wide == 0 || std::fabs(wide) >= 1) return "is beyond the dtype's range";
    value = wide < 0 ? -T(0) : T(0);
    return nullptr;
  }
}

}  // namespace

/// Cuts a text into records.
class Table::Reader {
 public:
  Reader(const Table& table, char delimiter)
      : text_(table.text_), path_(table.path_), delimiter_(delimiter) {
    if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  }

  /// Whether there is one more record; its cells are added.
  bool next(std::vector<Cell>& cells) {
    while (at_ < text_.size() && is_end_of_line()) ++at_;
    if (at_ == text_.size()) return false;
    for (;;) {
      const size_t begin = at_;
      if (text_[at_] == '"')
        pass_quotes();
      else
        while (at_ < text_.size() && text_[at_] != delimiter_ && !is_end_of_line()) {
          if (text_[at_] == '"')
            wrong(at_,
                  "a quote within a field that does not begin with one; quote all of it, and "
                  "double the quotes in it");
          ++at_;
        }
      cells.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(at_)});
      if (at_ == text_.size() || is_end_of_line()) return true;
      if (text_[at_] != delimiter_)
        wrong(at_, "text behind a quoted field; a quote in a field has to be doubled");
      ++at_;
      if (at_ == text_.size()) {  // an empty field at the end
        cells.push_back({static_cast<uint32_t>(at_), static_cast<uint32_t>(at_)});
        return true;
      }
    }
  }

  [[noreturn]] void wrong(size_t at, const std::string& what) const {
    fail("{}:{}: {}", path_, line_and_column(text_, at), what);
  }

 private:
  bool is_end_of_line() const { return text_[at_] == '\n' || text_[at_] == '\r'; }
  void pass_quotes() {
    const size_t begin = at_++;
    for (;;) {
      at_ = text_.find('"', at_);
      if (at_ == std::string_view::npos) wrong(begin, "a quote that is not closed");
      if (text_[++at_] != '"') return;  // a string ends with a zero
      ++at_;
    }
  }

  const std::string &text_, &path_;
  char delimiter_;
  size_t at_ = 0;
};

Table load_csv(const std::string& path, const CsvOptions& options) {
  check_delimiter("load_csv", options.delimiter);
  Table table;
  table.path_ = path;
  table.missing_ = options.missing;
  table.text_ = MaybeGzipped(path).read(kMostBytesOfATable + 1);
  check(table.text_.size() <= kMostBytesOfATable, "{}: has more than the {} bytes that are read",
        path, kMostBytesOfATable);
  Table::Reader reader(table, options.delimiter);
  std::vector<Table::Cell> first;
  check(reader.next(first), "{}: there is no record in it", path);
  std::unordered_set<std::string> names;
  for (size_t i = 0; i < first.size(); ++i) {
    table.columns_.push_back(options.header ? table.value(first[i]) : fmt::format("{}", i));
    if (!names.insert(table.columns_.back()).second)
      reader.wrong(first[i].begin, fmt::format("a second column is called {}",
                                               detail::json(table.columns_.back())));
  }
  if (!options.header) table.cells_ = first;
  for (size_t before = table.cells_.size(); reader.next(table.cells_);
       before = table.cells_.size()) {
    const size_t count = table.cells_.size() - before;
    if (count != first.size())
      reader.wrong(table.cells_[before].begin,
                   fmt::format("{} fields where the first record has {}", count, first.size()));
  }
  return table;
}

size_t Table::rows() const { return columns_.empty() ? 0 : cells_.size() / columns_.size(); }

int64_t Table::size() const { return static_cast<int64_t>(rows()); }

bool Table::has(std::string_view column) const {
  return std::find(columns_.begin(), columns_.end(), column) != columns_.end();
}

size_t Table::place(std::string_view column) const {
  const auto found = std::find(columns_.begin(), columns_.end(), column);
  if (found == columns_.end())
    fail("{}: there is no column {}; there are {}", path_.empty() ? "Table" : path_,
         detail::json(column), detail::json(columns_));
  return static_cast<size_t>(found - columns_.begin());
}

std::vector<size_t> Table::places(const std::vector<std::string>& columns) const {
  std::vector<size_t> result;
  for (const std::string& column : columns) result.push_back(place(column));
  return result;
}

const Table::Cell& Table::cell(size_t row, size_t place) const {
  return cells_[row * columns_.size() + place];
}

std::string Table::value(const Cell& cell) const {
  std::string value = text_.substr(cell.begin, cell.end - cell.begin);
  if (!value.starts_with('"')) return value;
  size_t to = 0;
  for (size_t from = 1; from + 1 < value.size(); ++from) {
    value[to++] = value[from];
    if (value[from] == '"') ++from;  // it is doubled
  }
  value.resize(to);
  return value;
}

bool Table::is_missing(const std::string& value) const {
  return std::find(missing_.begin(), missing_.end(), value) != missing_.end();
}

std::string Table::where(const Cell& cell) const {
  const auto column = static_cast<size_t>(&cell - cells_.data()) % columns_.size();
  return fmt::format("{}:{}: {}", path_, line_and_column(text_, cell.begin),
                     detail::json(columns_[column]));
}

Tensor Table::numbers(const std::vector<std::string>& columns, DType dtype,
                      std::optional<double> missing) const {
  check(dtype != DType::boolean, "Table: numbers are f32, f64 or i64, not bool");
  if (missing) check_number("Table", *missing, dtype);
  const std::vector<size_t> places = this->places(columns);
  Tensor result = empty({size(), static_cast<int64_t>(places.size())}, dtype);
  dispatch(dtype, [&]<class T>() {
    if constexpr (!std::is_same_v<T, bool>) {
      T* to = result.mutable_data<T>();
      for (size_t row = 0; row < rows(); ++row)
        for (const size_t place : places) {
          const Cell& here = cell(row, place);
          const std::string text = value(here);
          if (is_missing(text)) {
            if (!missing)
              fail("{}: a value is missing; say what takes its place, or drop_missing()",
                   where(here));
            *to++ = static_cast<T>(*missing);
          } else if (const char* const wrong = parse(text, *to++)) {
            fail("{}: {} {}", where(here), detail::json(text), wrong);
          }
        }
    }
  });
  return result;
}

Tensor Table::missing(const std::vector<std::string>& columns) const {
  const std::vector<size_t> places = this->places(columns);
  Tensor result = empty({size(), static_cast<int64_t>(places.size())}, DType::boolean);
  bool* to = result.mutable_data<bool>();
  for (size_t row = 0; row < rows(); ++row)
    for (const size_t place : places) *to++ = is_missing(value(cell(row, place)));
  return result;
}

std::vector<std::string> Table::text(std::string_view column) const {
  const size_t place = this->place(column);
  std::vector<std::string> result;
  for (size_t row = 0; row < rows(); ++row) result.push_back(value(cell(row, place)));
  return result;
}

Vocabulary Table::categories(std::string_view column) const {
  std::vector<std::string> values = text(column);
  for (std::string& value : values)
    if (is_missing(value)) value.clear();
  const ErrorContext context(path_);
  return Vocabulary::of(values);
}

Tensor Table::ids(std::string_view column, const Vocabulary& categories) const {
  const size_t place = this->place(column);
  Tensor result = empty({size()}, DType::i64);
  int64_t* to = result.mutable_data<int64_t>();
  for (size_t row = 0; row < rows(); ++row) {
    std::string text = value(cell(row, place));
    if (is_missing(text)) text.clear();
    try {
      *to++ = categories.id(text);
    } catch (const Error& error) {
      throw Error(fmt::format("{}: {}", where(cell(row, place)), error.what()));
    }
  }
  return result;
}

Tensor Table::one_hot(std::string_view column, const Vocabulary& categories, DType dtype) const {
  const Tensor ids = this->ids(column, categories);
  Tensor result = zeros({size(), categories.size()}, dtype);
  dispatch(dtype, [&]<class T>() {
    T* row = result.mutable_data<T>();
    for (int64_t i = 0; i < size(); ++i, row += categories.size()) row[ids.data<int64_t>()[i]] = 1;
  });
  return result;
}

Table Table::drop_missing() const {
  Table result = *this;
  result.cells_.clear();
  const size_t width = columns_.size();
  for (size_t row = 0; row < cells_.size(); row += width) {
    const auto begin = cells_.begin() + static_cast<std::ptrdiff_t>(row),
               end = begin + static_cast<std::ptrdiff_t>(width);
    if (std::none_of(begin, end, [&](const Cell& one) { return is_missing(value(one)); }))
      result.cells_.insert(result.cells_.end(), begin, end);
  }
  return result;
}

namespace {

/// A field, quoted if it has to be; `alone` in its record, where nothing would be an empty line.
std::string field(const std::string& text, char delimiter, bool alone) {
  if (text.find_first_of(std::string("\"\r\n") + delimiter) == std::string::npos &&
      !text.starts_with(kByteOrderMark) && !(alone && text.empty()))
    return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

std::vector<std::string> texts_of(const std::string& name, const CsvColumn& column) {
  if (const auto* const texts = std::get_if<std::vector<std::string>>(&column)) return *texts;
  const Tensor& x = std::get<Tensor>(column);
  check(x.ndim() == 1 || (x.ndim() == 2 && x.size(1) == 1),
        "save_csv: column {} is {}, must be (N) or (N, 1)", name, x.shape());
  const raw::Contiguous values(x);
  std::vector<std::string> texts;
  dispatch(x.dtype(), [&]<class T>() {
    for (const T value : std::span(values.data<T>(), static_cast<size_t>(x.numel()))) {
      if constexpr (std::is_floating_point_v<T>)
        texts.push_back(std::isnan(value) ? "" : fmt::format("{}", value));
      else
        texts.push_back(fmt::format("{}", static_cast<int64_t>(value)));
    }
  });
  return texts;
}

}  // namespace

void save_csv(const std::string& path,
              const std::vector<std::pair<std::string, CsvColumn>>& columns, char delimiter) {
  check_delimiter("save_csv", delimiter);
  check(!columns.empty(), "save_csv: {}: there are no columns", path);
  std::vector<std::vector<std::string>> texts;
  std::unordered_set<std::string> names;
  for (const auto& [name, column] : columns) {
    if (!names.insert(name).second)
      fail("save_csv: {}: two columns are called {}", path, detail::json(name));
    texts.push_back(texts_of(name, column));
    check(texts.back().size() == texts[0].size(), "save_csv: {}: column {} has {} rows, and {} {}",
          path, name, texts.back().size(), columns[0].first, texts[0].size());
  }
  const bool alone = columns.size() == 1;
  write_file(path, [&](std::ostream& file) {
    for (size_t i = 0; i < columns.size(); ++i) {
      if (i > 0) file << delimiter;
      file << field(columns[i].first, delimiter, alone);
    }
    file << '\n';
    for (size_t row = 0; row < texts[0].size(); ++row) {
      for (size_t i = 0; i < texts.size(); ++i) {
        if (i > 0) file << delimiter;
        file << field(texts[i][row], delimiter, alone);
      }
      file << '\n';
    }
  });
}

}  // namespace gradus

#define BOOST_TEST_MODULE csv
#include <gradus/base/file.h>
#include <gradus/data/csv.h>
#include <gradus/data/standardizer.h>
#include <gradus/training/checkpoint.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <ostream>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

const std::string path = "test_csv_" + std::to_string(::getpid());
struct NoFile {
  ~NoFile() { std::filesystem::remove(path); }
};
BOOST_TEST_GLOBAL_FIXTURE(NoFile);

void write(const std::string& text) {
  write_file(path, [&](std::ostream& file) { file << text; });
}

Table table(const std::string& text, const CsvOptions& options = {}) {
  write(text);
  return load_csv(path, options);
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

std::string bytes_of(const std::string& digits) {
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2)
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

// tests/data/csv_records.py says how they were made.
BOOST_AUTO_TEST_CASE(records_are_those_of_pythons_csv_module) {
  const std::string cases = read_file(GRADUS_SOURCE_DIR "/tests/data/csv_records.csv");
  int count = 0;
  for (const std::string& line : split(cases, '\n')) {
    if (line.empty()) continue;
    ++count;
    const std::vector<std::string> parts = split(line, ',');
    std::vector<std::vector<std::string>> records;
    for (const std::string& record : split(parts[1], '/')) {
      records.emplace_back();
      for (const std::string& field : split(record, '.')) records.back().push_back(bytes_of(field));
    }
    const Table read = table(bytes_of(parts[0]), {.header = false});
    BOOST_TEST_REQUIRE(read.size() == static_cast<int64_t>(records.size()), line);
    BOOST_TEST_REQUIRE(read.columns().size() == records[0].size(), line);
    std::vector<std::pair<std::string, CsvColumn>> columns;
    for (size_t c = 0; c < records[0].size(); ++c) {
      const std::vector<std::string> column = read.text(std::to_string(c));
      for (size_t r = 0; r < records.size(); ++r) BOOST_TEST(column[r] == records[r][c], line);
      columns.emplace_back(records[0][c],
                           std::vector<std::string>(column.begin() + 1, column.end()));
    }
    try {  // of columns' names that differ
      save_csv(path, columns);
    } catch (const Error& error) {
      BOOST_TEST(says("two columns are called")(error));
      continue;
    }
    BOOST_TEST(read_file(path) == bytes_of(parts[2]), line);
  }
  BOOST_TEST(count > 90);
}

BOOST_AUTO_TEST_CASE(columns_go_by_their_names) {
  const Table houses = table(
      "\xef\xbb\xbfrooms,price,city\r\n"
      " 3 ,1.5e3,Bonn\r\n"
      "+4,NA,\"K\xc3\xb6ln, Rhein\"\r\n"
      "5,-.25,Bonn\r\n");
  BOOST_TEST(houses.size() == 3);
  BOOST_TEST(houses.columns() == (std::vector<std::string>{"rooms", "price", "city"}),
             boost::test_tools::per_element());
  BOOST_TEST((houses.has("city") && !houses.has("town")));
  const Tensor x = houses.numbers({"price", "rooms"}, DType::f64, -1);
  BOOST_TEST((x.shape() == Shape{3, 2}));
  BOOST_TEST(x.to_vector<double>() == (std::vector<double>{1500, 3, -1, 4, -.25, 5}),
             boost::test_tools::per_element());
  BOOST_TEST((houses.missing({"price", "rooms"}).to_vector<bool>() ==
              std::vector<bool>{false, false, true, false, false, false}));
  BOOST_TEST(std::isnan(houses.numbers({"price"}, DType::f32, kNan).at({1, 0})));
  BOOST_TEST((houses.numbers({"rooms"}, DType::i64).to_vector<int>() == std::vector{3, 4, 5}));
  const Table whole = houses.drop_missing();
  BOOST_TEST((whole.numbers({"rooms"}).to_vector<int>() == std::vector{3, 5}));
  const Vocabulary cities = houses.categories("city");
  BOOST_TEST((cities.tokens() == std::vector<std::string>{"Bonn", "K\xc3\xb6ln, Rhein"}));
  BOOST_TEST((whole.ids("city", cities).to_vector<int>() == std::vector{0, 0}));
  BOOST_TEST((houses.one_hot("city", cities).to_vector<int>() == std::vector{1, 0, 0, 1, 1, 0}));
  BOOST_CHECK_EXCEPTION(houses.ids("city", Vocabulary({"Bonn"})), Error,
                        says(path + ":3:7: \"city\": Vocabulary: \"K\xc3\xb6ln, Rhein\" is none"));
  BOOST_TEST(
      (houses.ids("city", Vocabulary({"<unk>", "Bonn"})).to_vector<int>() == std::vector{1, 0, 1}));
  const Table semicolons = table("a;b\n1,5;2\n", {.delimiter = ';'});
  BOOST_TEST(semicolons.text("a")[0] == "1,5");
}

BOOST_AUTO_TEST_CASE(errors_name_line_and_column) {
  const auto refused = [](const std::string& text, const std::string& what) {
    BOOST_CHECK_EXCEPTION(table(text), Error, says(path + what));
  };
  refused("", ": there is no record");
  refused("\n\r\n", ": there is no record");
  refused("a,b,a\n", ":1:5: a second column is called \"a\"");
  refused("a,b\n1,2\n\n\"x\r\ny\",2\n3\n", ":6:1: 1 fields where the first record has 2");
  refused("a,b\n1,2,3\n", ":2:1: 3 fields");
  refused("a,b\n1,x\"y\"\n", ":2:4: a quote within a field");
  refused("a,b\n1,\"x\" \n", ":2:6: text behind a quoted field");
  refused("a,b\r1,\"x\n", ":2:3: a quote that is not closed");
  const Table t = table("a,b\n\xc3\xa9,1\n,1e999\n2,9223372036854775808\n");
  const auto number = [&](const char* column, DType dtype, const std::string& what) {
    BOOST_CHECK_EXCEPTION(t.numbers({column}, dtype), Error, says(path + what));
  };
  number("a", DType::f32, ":2:1: \"a\": \"\xc3\xa9\" is no number");
  number("b", DType::f64, ":3:2: \"b\": \"1e999\" is beyond the dtype's range");
  number("b", DType::i64, ":3:2: \"b\": \"1e999\" is no integer");
  number("c", DType::f32, ": there is no column \"c\"; there are [\"a\", \"b\"]");
  BOOST_CHECK_EXCEPTION(table("a,b\n1,\n").numbers({"b"}), Error,
                        says(":2:3: \"b\": a value is missing"));
  BOOST_CHECK_EXCEPTION(table("b\n9223372036854775808\n").numbers({"b"}, DType::i64), Error,
                        says(":2:1: \"b\": \"9223372036854775808\" is beyond"));
  BOOST_CHECK_EXCEPTION(t.numbers({"b"}, DType::boolean), Error, says("not bool"));
  BOOST_CHECK_EXCEPTION(table("b\n1e39\n").numbers({"b"}), Error, says("is beyond"));
  BOOST_TEST(table("b\n1e-400\n").numbers({"b"}, DType::f64).item() == 0);
  // However it is written.
  const std::string zeros(60, '0');
  BOOST_CHECK_EXCEPTION(table("b\n1" + zeros + "e-1\n").numbers({"b"}), Error, says("is beyond"));
  BOOST_TEST(table("b\n0." + zeros + "1\n").numbers({"b"}).item() == 0);
  for (const char* nan : {"NAN", "-nan", " nan", "nan(1)"})
    BOOST_CHECK_EXCEPTION(table("b\n" + std::string(nan) + "\n").numbers({"b"}), Error,
                          says("is no number"));
  BOOST_CHECK_EXCEPTION(load_csv("/no/such/file"), Error, says("/no/such/file: cannot be opened"));
  BOOST_CHECK_EXCEPTION(table("a\n", {.delimiter = '"'}), Error, says("neither a quote nor"));
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  const Tensor x = Tensor::from(std::vector<float>{0.1F, -1e-40F, 3, 1e20F}, {4, 1}),
               y = Tensor::of({1. / 3, kNan, 1e300, -0.0}, DType::f64),
               n = Tensor::from(std::vector<int64_t>{INT64_MIN, 0, 1, INT64_MAX}, {4});
  save_csv(path, {{"x", x},
                  {"y", y},
                  {"n", n},
                  {"yes", Tensor::of({0, 1, 1, 0}, DType::boolean)},
                  {"text, quoted", std::vector<std::string>{"a", "\"", "", "\n"}}});
  BOOST_TEST(read_file(path).starts_with("x,y,n,yes,\"text, quoted\"\n0.1,0.3333333333333333,"));
  const Table t = load_csv(path);
  BOOST_TEST(t.numbers({"x"}).to_vector<float>() == x.to_vector<float>());
  const std::vector<double> back = t.numbers({"y"}, DType::f64, kNan).to_vector<double>();
  BOOST_TEST((back[0] == 1. / 3 && std::isnan(back[1]) && back[2] == 1e300 && back[3] == 0 &&
              std::signbit(back[3])));
  BOOST_TEST(t.numbers({"n"}, DType::i64).to_vector<int64_t>() == n.to_vector<int64_t>());
  BOOST_TEST((t.text("yes") == std::vector<std::string>{"0", "1", "1", "0"}));
  BOOST_TEST((t.text("text, quoted") == std::vector<std::string>{"a", "\"", "", "\n"}));

  const std::string before = read_file(path);
  BOOST_CHECK_EXCEPTION(save_csv(path, {}), Error, says("there are no columns"));
  BOOST_CHECK_EXCEPTION(save_csv(path, {{"x", x}, {"x", x}}), Error,
                        says("two columns are called"));
  BOOST_CHECK_EXCEPTION(save_csv(path, {{"x", x}, {"y", ones({3})}}), Error,
                        says("column y has 3 rows, and x 4"));
  BOOST_CHECK_EXCEPTION(save_csv(path, {{"x", ones({2, 2})}}), Error, says("must be (N)"));
  BOOST_TEST(read_file(path) == before);
}

// The values are numpy.nanmean's and numpy.nanstd's.
BOOST_AUTO_TEST_CASE(columns_are_standardized_by_the_training_part) {
  const Tensor train = Tensor::from(std::vector<double>{1, 1e9 + 1, 5, kNan, 2, 1e9 + 2, 5, 3, 4,
                                                        1e9 + 4, 5, 5, 9, 1e9 + 9, 5, kNan},
                                    {4, 4});
  Standardizer columns = Standardizer::fit(train);
  test::check_close("mean", columns.mean, {4, 1000000004, 5, 4}, 1e-15);
  test::check_close("scale", columns.scale, {3.082207001484488, 3.082207001484488, 1, 1}, 1e-15);
  const std::vector<double> y = columns.apply(train).to_vector<double>();
  BOOST_TEST((y[0] == y[1] && y[2] == 0 && std::isnan(y[3]) && y[7] == -1));
  const Tensor test = Tensor::of({{1, 2, 3, 4}});  // f32, another part
  test::check_close("the test part", columns.apply(test),
                    {-3 / 3.082207001484488, -1000000002 / 3.082207001484488, -2, 0}, 1e-7);
  test::check_close("back", columns.invert(columns.apply(test)), {1, 2, 3, 4}, 60);  // of 1e9
  test::check_close("back in f64", columns.invert(columns.apply(raw::cast(test, DType::f64))),
                    {1, 2, 3, 4}, 1e-6);

  Checkpoint().add("mean", columns.mean).add("scale", columns.scale).save(path);
  Standardizer loaded(4);
  BOOST_TEST(loaded.apply(test).to_vector<float>() == test.to_vector<float>());
  Checkpoint().add("mean", loaded.mean).add("scale", loaded.scale).load(path);
  BOOST_TEST(loaded.apply(test).to_vector<float>() == columns.apply(test).to_vector<float>());

  // Equal values that no sum of theirs is a multiple of.
  BOOST_TEST(Standardizer::fit(full({7, 1}, 0.1, DType::f64)).scale.item() == 1);
  const Tensor steps = Standardizer::fit(ones({2, 3, 4})).apply(ones({2, 3, 4}));
  BOOST_TEST((steps.shape() == Shape{2, 3, 4}));
  BOOST_CHECK_EXCEPTION(Standardizer::fit(full({2, 1}, kNan)), Error, says("has no values"));
  BOOST_CHECK_EXCEPTION(Standardizer::fit(ones({0, 1})), Error, says("has no values"));
  BOOST_CHECK_EXCEPTION(Standardizer::fit(Tensor::of({1, INFINITY})), Error, says("not finite"));
  BOOST_CHECK_EXCEPTION(columns.apply(ones({2, 3})), Error, says("must be (..., 4)"));
  BOOST_CHECK_EXCEPTION(columns.apply(arange(4)), Error, says("must be (..., 4) f32 or f64"));
}

#define BOOST_TEST_MODULE dataset
#include <gradus/data/loader.h>
#include <gradus/data/sequences.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <set>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

/// Tensors of each dtype and several ranks; each row holds its number.
Dataset numbered(int64_t n) {
  const Tensor ids = arange(n);
  const Tensor column = raw::reshape(ids, {n, 1});
  return {
      .name = "numbered",
      .x = raw::cast(raw::clone(raw::expand(raw::reshape(ids, {n, 1, 1}), {n, 3, 2})), DType::f64),
      .y = raw::cast(raw::clone(raw::expand(column, {n, 2})), DType::f32),
      .more = {{"ids", ids}, {"odd", raw::cast(raw::clone(ids), DType::boolean)}}};
}

std::vector<int64_t> ids(const Dataset& data) { return data["ids"].to_vector<int64_t>(); }

/// That the tensors' rows still belong together.
void check_rows(const Dataset& data) {
  const auto id = ids(data);
  BOOST_TEST((data.x.shape() == Shape{data.size(), 3, 2}));
  BOOST_TEST((data.y.shape() == Shape{data.size(), 2}));
  BOOST_TEST((data.x.dtype() == DType::f64 && data.y.dtype() == DType::f32));
  BOOST_TEST((data["odd"].dtype() == DType::boolean));
  for (int64_t n = 0; n < data.size(); ++n) {
    const auto expected = static_cast<double>(id[static_cast<size_t>(n)]);
    BOOST_TEST(data.x.at({n, 2, 1}) == expected);
    BOOST_TEST(data.x.at({n, 0, 0}) == expected);
    BOOST_TEST(data.y.at({n, 1}) == expected);
    BOOST_TEST(data["odd"].at({n}) == (expected != 0));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(tensors_go_by_name) {
  const Dataset data = numbered(4);
  BOOST_TEST(data.size() == 4);
  BOOST_TEST((data["x"].is(data.x) && data["y"].is(data.y) && data["ids"].is(data.more[0].second)));
  BOOST_TEST((data.has("x") && data.has("odd") && !data.has("even")));
  BOOST_CHECK_EXCEPTION(data["even"], Error,
                        says("Dataset: numbered has no tensor 'even'; it has x, y, ids, odd"));
  BOOST_CHECK_EXCEPTION((Dataset{.name = "nothing"}["x"]), Error,
                        says("nothing has no tensor 'x'; it has none"));
  const Dataset unlabelled{.name = "ids", .more = {{"ids", arange(3)}}};
  BOOST_TEST(unlabelled.size() == 3);
  BOOST_CHECK_EXCEPTION(unlabelled["y"], Error, says("it has ids"));
  BOOST_TEST(Dataset{}.size() == 0);
  std::string names;
  for (const auto& [name, value] : data.tensors()) names += name + " ";
  BOOST_TEST(names == "x y ids odd ");
}

BOOST_AUTO_TEST_CASE(rows_belong_together) {
  const Dataset data = numbered(10);
  const Dataset some = data[Tensor::of({7, 0, 7, 9}, DType::i64)];
  check_rows(some);
  BOOST_TEST(ids(some) == (std::vector<int64_t>{7, 0, 7, 9}));
  BOOST_TEST(some.name == "numbered");
  BOOST_TEST(data[arange(0)].size() == 0);
  const DataLoader loader(data, {.batch_size = 4, .seed = 2});
  std::multiset<int64_t> seen;
  for (const Dataset& batch : loader.epoch(1)) {
    check_rows(batch);
    for (int64_t id : ids(batch)) seen.insert(id);
  }
  BOOST_TEST(seen.size() == 10u);
  BOOST_TEST(std::set<int64_t>(seen.begin(), seen.end()).size() == 10u);
  // A batch is a dataset: it goes through a loader again.
  check_rows(DataLoader(loader.epoch(0).batch(0), {.batch_size = 3}).epoch(0).batch(0));
}

BOOST_AUTO_TEST_CASE(a_split_keeps_rows_together) {
  const Split parts = train_test_split(numbered(11), 0.3, 4);
  BOOST_TEST(parts.train.size() == 8);
  BOOST_TEST(parts.test.size() == 3);
  check_rows(parts.train);
  check_rows(parts.test);
}

BOOST_AUTO_TEST_CASE(each_row_is_tested_once_by_the_folds) {
  const Dataset data = numbered(11);
  for (int64_t k : {2, 3, 4, 11}) {
    const std::vector<Split> folds = kfold(data, k, 5);
    BOOST_TEST_REQUIRE(static_cast<int64_t>(folds.size()) == k);
    std::vector<int64_t> tested;
    for (const Split& fold : folds) {
      check_rows(fold.train);
      check_rows(fold.test);
      BOOST_TEST((fold.test.size() == 11 / k || fold.test.size() == 11 / k + 1));
      std::vector<int64_t> all = ids(fold.train);
      for (int64_t id : ids(fold.test)) {
        all.push_back(id);
        tested.push_back(id);
      }
      std::sort(all.begin(), all.end());
      BOOST_TEST(all == arange(11).to_vector<int64_t>());
    }
    std::sort(tested.begin(), tested.end());
    BOOST_TEST(tested == arange(11).to_vector<int64_t>());
  }
  BOOST_TEST(ids(kfold(data, 3, 5)[1].test) == ids(kfold(data, 3, 5)[1].test));
  BOOST_TEST(ids(kfold(data, 3, 5)[1].test) != ids(kfold(data, 3, 6)[1].test));
}

BOOST_AUTO_TEST_CASE(what_does_not_belong_together_is_named) {
  const Tensor three = zeros({3, 2}), four = arange(4);
  const auto refused = [](const Dataset& data, const std::string& why) {
    BOOST_CHECK_EXCEPTION(DataLoader{data}, Error, says(why));
    BOOST_CHECK_EXCEPTION(data[arange(1)], Error, says(why));
    BOOST_CHECK_EXCEPTION(train_test_split(data, 0.5, 1), Error, says(why));
    BOOST_CHECK_EXCEPTION(kfold(data, 2, 1), Error, says(why));
  };
  refused({.name = "odd one", .x = three, .more = {{"lengths", four}}},
          "the tensors of odd one must share their first axis, and are x (3, 2), lengths (4,)");
  refused({.name = "a", .x = three, .y = zeros({})}, "x (3, 2), y ()");
  refused({.name = "a"}, "the dataset a has no tensors");
  refused({.name = "a", .x = three, .more = {{"x", three}}}, "two tensors of one name");
  refused({.name = "a", .more = {{"b", three}, {"b", three}}}, "two tensors of one name");
  refused({.name = "a", .x = three, .more = {{"b", Tensor()}}}, "'b' of a is an empty handle");
  refused({.name = "a", .x = three, .classes = 2}, "a has 2 classes, and y is not there");
  refused({.name = "a", .x = three, .y = zeros({3}), .classes = 2}, "y is f32; labels must be i64");
  BOOST_CHECK_EXCEPTION(numbered(3)[ones({2})], Error, says("the indices are f32, not i64"));
  BOOST_CHECK_EXCEPTION(numbered(3)[zeros({1, 2}, DType::i64)], Error, says("a vector"));
  BOOST_CHECK_EXCEPTION(kfold(numbered(3), 4, 1), Error,
                        says("kfold: 4 folds of numbered's 3 rows"));
}

// By torch.nn.utils.rnn.pad_sequence(batch_first=True).
BOOST_AUTO_TEST_CASE(padded_sequences) {
  const PaddedSequences padded =
      pad_sequence({Tensor::of({{1, 2}}), Tensor::of({{3, 4}, {5, 6}, {7, 8}}), zeros({0, 2})}, -1);
  BOOST_TEST((padded.values.shape() == Shape{3, 3, 2}));
  BOOST_TEST(padded.values.to_vector<float>() ==
             (std::vector<float>{1, 2, -1, -1, -1, -1, 3, 4, 5, 6, 7, 8, -1, -1, -1, -1, -1, -1}));
  BOOST_TEST(padded.lengths.to_vector<int>() == (std::vector<int>{1, 3, 0}));
  const PaddedSequences words = pad_sequence({arange(2), arange(1)}, 9);
  BOOST_TEST((words.values.dtype() == DType::i64));
  BOOST_TEST(words.values.to_vector<int>() == (std::vector<int>{0, 1, 0, 9}));
  const PaddedSequences none = pad_sequence({zeros({0, 2}), zeros({0, 2})});
  BOOST_TEST((none.values.shape() == Shape{2, 0, 2}));

  BOOST_CHECK_EXCEPTION(pad_sequence({}), Error, says("pad_sequence: there are no sequences"));
  BOOST_CHECK_EXCEPTION(pad_sequence({zeros({2, 3}), zeros({2, 4})}), Error,
                        says("sequence 0 is (2, 3) and sequence 1 is (2, 4)"));
  BOOST_CHECK_EXCEPTION(pad_sequence({zeros({2}), zeros({})}), Error, says("sequence 1 is ()"));
  BOOST_CHECK_EXCEPTION(pad_sequence({zeros({})}), Error, says("is a scalar"));
  BOOST_CHECK_EXCEPTION(pad_sequence({zeros({2}), arange(2)}), Error, says("f32 and i64"));
  BOOST_CHECK_EXCEPTION(pad_sequence({arange(2)}, 0.5), Error, says("pad_sequence"));
}

// Mean 0 and variance 1 over what is no padding; padding stays as it is.
BOOST_AUTO_TEST_CASE(standardizing_sequences) {
  const auto part = [](const char* name) {
    return Dataset{.name = name,
                   .x = raw::reshape(Tensor::of({1, 3, 0, 0, 5, 7, 9, 11}, DType::f64), {2, 2, 2}),
                   .more = {{"lengths", Tensor::of({1, 2}, DType::i64)}}};
  };
  Split data{part("train"), part("test")};
  data.test.more[0].second = Tensor::of({2, 0}, DType::i64);
  standardize(data);
  // The values 1, 3, 5, 7, 9, 11: mean 6, variance (25 + 9 + 1) 2 / 6 = 35 / 3.
  const double rstd = 1 / std::sqrt(35.0 / 3);
  const auto check_values = [](const Tensor& x, const std::vector<double>& expected) {
    const auto values = x.to_vector<double>();
    for (size_t i = 0; i < expected.size(); ++i)
      BOOST_TEST(std::abs(values[i] - expected[i]) < 1e-15);
  };
  check_values(data.train.x, {-5 * rstd, -3 * rstd, 0, 0, -rstd, rstd, 3 * rstd, 5 * rstd});
  check_values(data.test.x, {-5 * rstd, -3 * rstd, -6 * rstd, -6 * rstd, 5, 7, 9, 11});

  Split wrong{part("train"), part("test")};
  wrong.test.more[0].second = Tensor::of({3, 0}, DType::i64);
  BOOST_CHECK_EXCEPTION(standardize(wrong), Error,
                        says("standardize: test has a length of 3 of 2"));
  BOOST_TEST(wrong.train.x.at({0, 0, 0}) == 1);
  wrong = {{.name = "ids", .more = {{"ids", arange(3)}}}, part("test")};
  BOOST_CHECK_EXCEPTION(standardize(wrong), Error, says("standardize: ids has no x"));
  wrong = {{.name = "words", .x = arange(3)}, {.name = "words", .x = arange(3)}};
  BOOST_CHECK_EXCEPTION(standardize(wrong), Error, says("standardize"));
}

// Means far from 0, squares beyond the range: a mean or 1 / std rounded to f32 would show.
BOOST_AUTO_TEST_CASE(standardized_numbers_of_any_size) {
  const auto check = [](const auto& values, double bound) {
    const auto n = static_cast<int64_t>(values.size());
    Split data;
    data.train = {.name = "train", .x = Tensor::from(values, {n, 1})};
    data.test = {.name = "test", .x = Tensor::from(values, {n, 1})};
    standardize(data);
    long double mean = 0, var = 0;
    for (long double v : values) mean += v / static_cast<long double>(n);
    for (long double v : values) var += (v - mean) * (v - mean) / static_cast<long double>(n);
    const std::vector<double> x = data.train.x.template to_vector<double>();
    for (size_t i = 0; i < x.size(); ++i)
      BOOST_TEST(std::abs(x[i] - (values[i] - mean) / std::sqrt(var)) <= bound,
                 x[i] << " of " << values[i]);
  };
  for (const double scale : {1e-30, 1e-15, 1.0, 1e15, 1e30, 5e37})
    for (const double mean : {0.0, 1.0, 1e3, 8e6}) {
      if (scale * (mean + 2) > 3e38) continue;
      std::vector<float> floats;
      for (int i = 0; i < 100; ++i)
        floats.push_back(static_cast<float>(scale * (mean + i * 37 % 11 / 4.0 - 1)));
      check(floats, 1e-6);
    }
  for (const double scale : {1e-200, 1.0, 1e200, 1e307}) {
    std::vector<double> doubles;
    for (int i = 0; i < 100; ++i) doubles.push_back(scale * (i * 37 % 11 / 4.0 - 1));
    check(doubles, 1e-14);
  }
}

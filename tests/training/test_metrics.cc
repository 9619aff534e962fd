// Against scikit-learn's values, which make_metrics.py computes.
#define BOOST_TEST_MODULE metrics
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/tensor/safetensors.h>
#include <gradus/training/metrics.h>

#include <limits>
#include <map>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// What scikit-learn gave, and what it was given, by name.
const std::map<std::string, Tensor>& stored() {
  static const auto all = [] {
    const NamedTensors tensors =
        load_safetensors(std::string(GRADUS_SOURCE_DIR) + "/tests/training/metrics.safetensors");
    return std::map<std::string, Tensor>(tensors.begin(), tensors.end());
  }();
  return all;
}

Tensor i64(std::initializer_list<double> values) { return Tensor::of(values, DType::i64); }

void check_value(const std::string& what, double value, double expected) {
  BOOST_TEST(std::abs(value - expected) <= 1e-14 * std::max(1.0, std::abs(expected)),
             what << ": " << value << ", not " << expected);
}

void check_value(const std::string& name, double value) {
  check_value(name, value, stored().at(name).item());
}

void check_row(const std::string& what, const PrecisionRecallF1& found, const Tensor& expected,
               int64_t row) {
  check_value(what + " precision", found.precision, expected.at({row, 0}));
  check_value(what + " recall", found.recall, expected.at({row, 1}));
  check_value(what + " f1", found.f1, expected.at({row, 2}));
}

}  // namespace

BOOST_AUTO_TEST_CASE(classes_are_scikit_learns) {
  for (const std::string name : {"five", "two", "absent"}) {
    const Tensor scores = stored().at(name + "/scores"), labels = stored().at(name + "/labels"),
                 predicted = stored().at(name + "/predicted");
    const int64_t classes = scores.size(1);
    BOOST_TEST(argmax(scores, 1).to_vector<int64_t>() == predicted.to_vector<int64_t>());
    check_value(name + "/accuracy", accuracy(predicted, labels));
    for (int64_t k = 1; classes > 2 && k <= 3; ++k)
      check_value(fmt::format("{}/top{}", name, k), top_k_accuracy(scores, labels, k));
    const Tensor confusion = confusion_matrix(predicted, labels, classes);
    BOOST_TEST((confusion.shape() == Shape{classes, classes}));
    BOOST_TEST(confusion.to_vector<int64_t>() ==
               stored().at(name + "/confusion").to_vector<int64_t>());
    const auto each = precision_recall_f1(confusion);
    BOOST_REQUIRE(std::ssize(each) == classes);
    for (int64_t c = 0; c < classes; ++c)
      check_row(fmt::format("{}, class {}", name, c), each[static_cast<size_t>(c)],
                stored().at(name + "/each"), c);
    check_row(name + ", macro", precision_recall_f1(confusion, Average::macro),
              stored().at(name + "/macro"), 0);
    check_row(name + ", micro", precision_recall_f1(confusion, Average::micro),
              stored().at(name + "/micro"), 0);
    check_value(name + "/perplexity", perplexity(scores, labels));
  }
}

BOOST_AUTO_TEST_CASE(regression_and_ranking_are_scikit_learns) {
  for (const std::string name : {"r2.line", "r2.outputs"})
    check_value(name + "/r2",
                r2_score(stored().at(name + "/predicted"), stored().at(name + "/targets")));
  for (const std::string name : {"auc.plain", "auc.ties"}) {
    const Tensor scores = stored().at(name + "/scores"), labels = stored().at(name + "/labels");
    check_value(name + "/auc", roc_auc(scores, labels));
    check_value(name + "/auc", roc_auc(scores, raw::cast(labels, DType::boolean)));
  }
}

BOOST_AUTO_TEST_CASE(targets_that_do_not_vary) {
  const Tensor same = Tensor::of({3, 3, 3}), other = Tensor::of({3, 3, 4});
  BOOST_TEST(r2_score(same, same) == 1);
  BOOST_TEST(r2_score(other, same) == 0);
}

BOOST_AUTO_TEST_CASE(what_is_ignored_does_not_count) {
  const Tensor labels = i64({0, -100, 1, 2}), predicted = i64({0, 2, 1, 0}),
               scores = Tensor::of({3, 1, 2, 0, 0, 9, 1, 2, 0, 5, 0, 4});
  BOOST_TEST(accuracy(predicted, labels) == 2. / 3);
  BOOST_TEST(top_k_accuracy(reshape(scores, {4, 3}), labels, 1) == 2. / 3);
  BOOST_TEST(top_k_accuracy(reshape(scores, {4, 3}), labels, 2) == 1);
  BOOST_TEST(confusion_matrix(predicted, labels, 3).to_vector<int64_t>() ==
             (std::vector<int64_t>{1, 0, 0, 0, 1, 0, 1, 0, 0}));
  BOOST_TEST(roc_auc(Tensor::of({1, 9, 2}), i64({0, -100, 1})) == 1);
}

// As argmax has it: the first of equals, so that a model of one score for all is not right.
BOOST_AUTO_TEST_CASE(of_equal_scores_the_first_is_the_largest) {
  const Tensor scores = ones({3, 3}), labels = i64({0, 1, 2});
  for (int64_t k = 1; k <= 3; ++k)
    BOOST_TEST(top_k_accuracy(scores, labels, k) == static_cast<double>(k) / 3);
  BOOST_TEST(top_k_accuracy(reshape(Tensor::of({1, kNan}), {1, 2}), i64({1}), 1) == 1);
  BOOST_TEST(top_k_accuracy(reshape(Tensor::of({1, kNan}), {1, 2}), i64({0}), 1) == 0);
}

BOOST_AUTO_TEST_CASE(what_has_no_value_is_an_error) {
  const Tensor logits = ones({2, 3}), labels = i64({0, 1});
  BOOST_CHECK_EXCEPTION(accuracy(logits, labels), Error, says("predicted classes are f32"));
  BOOST_CHECK_EXCEPTION(accuracy(i64({0}), labels), Error, says("argmax(logits, 1) predicts"));
  BOOST_CHECK_EXCEPTION(accuracy(labels, i64({-100, -100})), Error, says("no label counts"));
  BOOST_CHECK_EXCEPTION(top_k_accuracy(logits, labels, 4), Error, says("k is 4 of 3 classes"));
  BOOST_CHECK_EXCEPTION(top_k_accuracy(logits, i64({0, 3}), 1), Error,
                        says("label 3 is no class of 3"));
  BOOST_CHECK_EXCEPTION(confusion_matrix(i64({0, 2}), labels, 2), Error,
                        says("predicted 2 is no class of 2"));
  BOOST_CHECK_EXCEPTION(precision_recall_f1(i64({0, 1})), Error, says("(C, C), not (2,)"));
  BOOST_CHECK_EXCEPTION(r2_score(ones({1}), ones({1})), Error, says("two or more are needed"));
  BOOST_CHECK_EXCEPTION(r2_score(ones({2}), ones({2, 1})), Error, says("targets (2, 1)"));
  BOOST_CHECK_EXCEPTION(roc_auc(ones({2}), i64({1, 1})), Error, says("2 labels are 1 and 0 are 0"));
  BOOST_CHECK_EXCEPTION(roc_auc(ones({2}), i64({1, 2})), Error, says("label 2 is neither 0 nor 1"));
  BOOST_CHECK_EXCEPTION(roc_auc(Tensor::of({kNan, 1}), labels), Error, says("score 0 is NaN"));
}

BOOST_AUTO_TEST_CASE(r2_of_equal_targets) {
  for (const int64_t n : {2, 3, 6, 7, 10, 23})
    for (const DType dtype : {DType::f32, DType::f64}) {
      BOOST_TEST(r2_score(full({n}, 0.2, dtype), full({n}, 0.1, dtype)) == 0);
      BOOST_TEST(r2_score(full({n}, 0.1, dtype), full({n}, 0.1, dtype)) == 1);
    }
}

#define BOOST_TEST_MODULE evaluate
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/tape.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/dropout.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>
#include <gradus/models/rnn_classifier.h>
#include <gradus/training/evaluate.h>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

/// Passes its input on.
class Given : public UnaryModule {
 public:
  Tensor forward(const Tensor& x) override { return x; }
  void visit(Visitor&) override {}
  std::string describe() const override { return "Given"; }
};

Dataset logits_and_labels() {
  return {.name = "mine",
          .x = Tensor::of({{0, 0}, {2, 0}, {0, 1}}, DType::f64),
          .y = Tensor::of({1, 0, 0}, DType::i64),
          .classes = 2};
}

}  // namespace

BOOST_AUTO_TEST_CASE(losses_by_hand) {
  Given model;
  for (int64_t batch_size : {1, 2, 3, 100}) {
    const Evaluation e = evaluate(model, logits_and_labels(), {.batch_size = batch_size});
    const double losses[] = {std::log(2.0), std::log1p(std::exp(-2.0)), std::log1p(std::exp(1.0))};
    for (int64_t i = 0; i < 3; ++i) BOOST_TEST(std::abs(e.losses.at({i}) - losses[i]) < 1e-15);
    BOOST_TEST(std::abs(e.loss - (losses[0] + losses[1] + losses[2]) / 3) < 1e-15);
    BOOST_TEST(e.correct.to_vector<bool>() == (std::vector<bool>{false, true, false}));
    BOOST_TEST(std::abs(e.accuracy - 1.0 / 3) < 1e-15);
  }
}

// As in cross_entropy: an ignored item counts for nothing, whatever its logits are.
BOOST_AUTO_TEST_CASE(ignored_labels_do_not_count) {
  Given model;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = Tensor::of({{0, 0}, {nan, 0}, {2, 0}, {0, 1}, {nan, nan}}, DType::f64),
               y = Tensor::of({1, -100, 0, 0, -100}, DType::i64);
  const Evaluation all = evaluate(model, logits_and_labels());
  for (int64_t batch_size : {1, 2, 100})
    for (const NormStatistics statistics : {NormStatistics::running, NormStatistics::batch}) {
      const Evaluation e = evaluate(model, {.name = "some", .x = x, .y = y, .classes = 2},
                                    {.batch_size = batch_size, .statistics = statistics});
      BOOST_TEST(std::abs(e.loss - all.loss) < 1e-15);
      BOOST_TEST(e.accuracy == all.accuracy);
      BOOST_TEST(e.loss == cross_entropy(x, y).item());
      BOOST_TEST((e.losses.at({1}) == 0 && e.losses.at({4}) == 0));
      BOOST_TEST((e.correct.at({1}) == 0 && e.correct.at({4}) == 0));
    }
  BOOST_CHECK_EXCEPTION(
      evaluate(model, {.name = "none", .x = x, .y = full({5}, -100, DType::i64), .classes = 2}),
      Error, says("evaluate: all 5 labels of none are -100"));
}

// Each module has a mode of its own; buffers stay, and nothing is recorded.
BOOST_AUTO_TEST_CASE(the_model_is_as_it_was) {
  Sequential model = Sequential().add(BatchNorm(4)).add(Dropout(0.5)).add(Linear(4, 3));
  model.train();
  model[0].eval();
  Generator generator(1);
  const Dataset data{.name = "d", .x = randn({7, 4}, generator), .y = arange(7), .classes = 3};
  Dataset labelled = data;
  labelled.y = Tensor::of({0, 1, 2, 0, 1, 2, 0}, DType::i64);
  const auto buffers = [&] {
    std::vector<double> all;
    for (const auto& [name, buffer] : model.named_buffers())
      for (double v : buffer.to_vector<double>()) all.push_back(v);
    return all;
  };
  const auto before = buffers();
  Tape tape;
  for (const NormStatistics statistics : {NormStatistics::running, NormStatistics::batch}) {
    const Evaluation e = evaluate(model, labelled, {.batch_size = 3, .statistics = statistics});
    BOOST_TEST(e.losses.tape() == 0u);
    BOOST_TEST((e.losses.to_vector<float>() ==
                evaluate(model, labelled, {.batch_size = 3, .statistics = statistics})
                    .losses.to_vector<float>()));  // no dropout
    // A label that is none.
    BOOST_CHECK_THROW(evaluate(model, data, {.batch_size = 3, .statistics = statistics}), Error);
    BOOST_TEST((model.training() && !model[0].training() && model[1].training()));
    BOOST_TEST(buffers() == before);
  }
}

// y = x normalized by the statistics of its own batch; the last batch is full.
BOOST_AUTO_TEST_CASE(statistics_of_the_batches) {
  BatchNorm model(2, {.eps = 0, .affine = false});
  model.to(DType::f64);
  const Dataset data{.name = "d",
                     .x = Tensor::of({{1, 0}, {3, 2}, {10, 0}, {20, 8}, {40, 0}}, DType::f64),
                     .y = zeros({5}, DType::i64),
                     .classes = 2};
  const Evaluation e =
      evaluate(model, data, {.batch_size = 2, .statistics = NormStatistics::batch});
  // Of two values the lower becomes -1 and the higher 1. The last batch is rows 3 and 4.
  const double same = std::log(2.0), lower = std::log1p(std::exp(-2.0));
  test::check_close("losses", e.losses, {same, same, same, same, lower}, 1e-12);
  BOOST_TEST(model.num_batches_tracked.item() == 0);
  const Evaluation running = evaluate(model, data);
  test::check_close(
      "running", running.losses,
      {std::log1p(std::exp(-1.0)), std::log1p(std::exp(-1.0)), std::log1p(std::exp(-10.0)),
       std::log1p(std::exp(-12.0)), std::log1p(std::exp(-40.0))},
      1e-12);
}

BOOST_AUTO_TEST_CASE(sequences_with_lengths) {
  RnnClassifier model(2, 3, {.hidden = 4});
  Generator generator(1);
  Dataset data{.name = "sequences",
               .x = randn({4, 5, 2}, generator),
               .y = Tensor::of({0, 1, 2, 0}, DType::i64),
               .classes = 3,
               .more = {{"lengths", Tensor::of({5, 1, 3, 2}, DType::i64)}}};
  const Evaluation e = evaluate(model, data, {.batch_size = 3});
  const Tensor expected =
      cross_entropy(model.forward(data.x, data["lengths"]), data.y, {.reduction = Reduction::none});
  test::check_close("losses", e.losses, expected.to_vector<double>(), 1e-6);
  const Evaluation by_hand = evaluate(
      model, data, [&](const Dataset& batch) { return model.forward(batch.x, batch["lengths"]); });
  test::check_close("by a function", by_hand.losses, expected.to_vector<double>(), 1e-6);
  AnyModule any = model;
  BOOST_CHECK_EXCEPTION(evaluate(any, data), Error, says("sequences has lengths"));
  data.more.clear();
  BOOST_TEST(evaluate(any, data).losses.numel() == 4);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_evaluated) {
  Given model;
  Dataset data = logits_and_labels();
  BOOST_CHECK_EXCEPTION(evaluate(model, data, {.batch_size = 0}), Error, says("batch size of 0"));
  BOOST_CHECK_EXCEPTION(evaluate(model, data[arange(0)]), Error, says("mine is empty"));
  BOOST_CHECK_EXCEPTION(evaluate(model, data, [](const Dataset& b) { return ones({b.size()}); }),
                        Error, says("the logits of a batch of 3 of mine are (3,)"));
  data.classes = 0;
  data.y = ones({3});
  BOOST_CHECK_EXCEPTION(evaluate(model, data), Error, says("y of mine is (3,) f32"));
  data.y = Tensor();
  BOOST_CHECK_EXCEPTION(evaluate(model, data), Error, says("y of mine is not there"));
}

#define BOOST_TEST_MODULE embedding
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/layers/embedding.h>

#include <cmath>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

// The row begins as 0, drawn at once or by initialize; the others are those of a table without it.
BOOST_AUTO_TEST_CASE(padding_begins_as_zero) {
  manual_seed(3);
  Embedding plain(4, 3);
  manual_seed(3);
  Embedding padded(4, 3, {.padding_idx = -2});
  for (int round = 0; round < 2; ++round) {
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t j = 0; j < 3; ++j)
        BOOST_TEST(padded.weight.at({i, j}) == (i == 2 ? 0 : plain.weight.at({i, j})));
    for (Embedding* module : {&plain, &padded}) module->initialize(7);
  }
  BOOST_TEST(padded.describe() == "Embedding(4, 3, padding_idx 2)");
  const Embedding copy = padded;
  BOOST_TEST(copy.describe() == padded.describe());
}

// Its gradient is 0 to every order, whatever arrives there; without a tape nothing changes.
BOOST_AUTO_TEST_CASE(padding_gets_no_gradient) {
  const Tensor at = Tensor::of({{1, 2, 0}, {2, 1, 1}}, DType::i64);
  for (const bool nan : {false, true}) {
    Tensor w = test::wave({3, 2}, 1.3, 0.4).set_requires_grad();
    const Tensor values = embedding(w, at);
    Tape tape;
    const Tensor y = embedding(w, at, 2);
    BOOST_TEST(y.to_vector<double>() == values.to_vector<double>(),
               boost::test_tools::per_element());
    Tensor dy = ones(y.shape(), DType::f64);
    if (nan) dy.mutable_data<double>()[2] = dy.mutable_data<double>()[6] = std::nan("");
    const Tensor dw = tape.gradient(y, w, {.create_graph = CreateGraph::yes, .dy = dy});
    check_close("dw", dw, {1, 1, 3, 3, 0, 0}, 0);
  }
  Tensor w = test::wave({3, 2}, 1.3, 0.4).set_requires_grad();
  Tape tape;
  const Tensor dw = tape.gradient(sum(square(embedding(w, at, -1))), w, CreateGraph::yes);
  const Tensor ddw = tape.gradient(sum(dw), w);
  check_close("ddw", ddw, {2, 2, 6, 6, 0, 0}, 0);
}

BOOST_AUTO_TEST_CASE(bad_padding) {
  const Tensor w = zeros({3, 2}), at = zeros({2}, DType::i64);
  BOOST_CHECK_EXCEPTION(embedding(w, at, 3), Error, says("embedding: padding_idx 3"));
  BOOST_CHECK_EXCEPTION(embedding(w, at, -4), Error, says("(3, 2)"));
  BOOST_CHECK_EXCEPTION(Embedding(3, 2, {.padding_idx = 3}), Error,
                        says("Embedding: padding_idx 3 of 3 vectors"));
}

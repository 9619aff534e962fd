#define BOOST_TEST_MODULE index
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/tensor/runtime.h>

#include "tests/checks.h"

using namespace gradus;
using test::says;

BOOST_AUTO_TEST_CASE(gather_by_hand) {
  const Tensor x = Tensor::of({{10, 11, 12}, {20, 21, 22}});
  const Tensor columns = Tensor::of({{2, 0}, {1, 1}}, DType::i64);
  BOOST_TEST(gather(x, 1, columns).to_vector<double>() == (std::vector<double>{12, 10, 21, 21}));
  const Tensor rows = Tensor::of({{1, 0, 1}, {0, 0, 0}, {1, 1, 0}}, DType::i64);
  BOOST_TEST(gather(x, -2, rows).to_vector<double>() ==
             (std::vector<double>{20, 11, 22, 10, 11, 12, 20, 21, 12}));
  // From and by views.
  BOOST_TEST(gather(transpose(x), 0, transpose(columns)).to_vector<double>() ==
             (std::vector<double>{12, 21, 10, 21}));
  const Tensor numbers = Tensor::of({{7, 8, 9}, {4, 5, 6}}, DType::i64);
  BOOST_TEST(gather(numbers, 1, columns).to_vector<int64_t>() ==
             (std::vector<int64_t>{9, 7, 5, 5}));
}

BOOST_AUTO_TEST_CASE(scatter_add_by_hand) {
  const Tensor x = Tensor::of({{10, 11, 12}, {20, 21, 22}});
  const Tensor columns = Tensor::of({{2, 0}, {1, 1}}, DType::i64);
  const Tensor src = Tensor::of({{1, 2}, {3, 4}});
  BOOST_TEST(scatter_add(x, 1, columns, src).to_vector<double>() ==
             (std::vector<double>{12, 11, 13, 20, 28, 22}));
  BOOST_TEST(x.at({0, 0}) == 10.0);
}

// <gather(x), y> = <x, scatter_add(0, y)> on a middle axis.
BOOST_AUTO_TEST_CASE(scatter_add_is_gathers_adjoint) {
  const Tensor x = sample({3, 4, 5}, 1), y = sample({3, 7, 5}, 2);
  Tensor index = empty({3, 7, 5}, DType::i64);
  for (int64_t i = 0; i < index.numel(); ++i)
    index.mutable_data<int64_t>()[i] = (i * i + i / 3) % 4;
  const double left = sum(gather(x, 1, index) * y).item();
  const double right = sum(x * scatter_add(zeros_like(x), 1, index, y)).item();
  BOOST_TEST(left == right, boost::test_tools::tolerance(1e-13));
  const Tensor g = gather(x, 1, index);
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 7; ++j)
      for (int64_t k = 0; k < 5; ++k)
        BOOST_TEST(g.at({i, j, k}) == x.at({i, static_cast<int64_t>(index.at({i, j, k})), k}));
}

BOOST_AUTO_TEST_CASE(index_select_by_hand) {
  const Tensor x = Tensor::of({{10, 11, 12}, {20, 21, 22}});
  const Tensor parts = Tensor::of({2, 0, 2, 2}, DType::i64);
  const Tensor y = index_select(x, -1, parts);
  BOOST_TEST(str(y.shape()) == "(2, 4)");
  BOOST_TEST(y.to_vector<double>() == (std::vector<double>{12, 10, 12, 12, 22, 20, 22, 22}));
  BOOST_TEST(index_select(transpose(x), 0, parts).to_vector<double>() ==
             transpose(y).to_vector<double>());
  BOOST_TEST(index_select(x, 0, Tensor::of({1}, DType::i64)).to_vector<double>() ==
             (std::vector<double>{20, 21, 22}));
  BOOST_TEST(str(index_select(x, 1, zeros({0}, DType::i64)).shape()) == "(2, 0)");
  BOOST_TEST(index_select(greater(x, 11), 1, parts).to_vector<bool>() ==
             (std::vector<bool>{1, 0, 1, 1, 1, 1, 1, 1}));
  const Tensor labels = Tensor::of({7, 8, 9}, DType::i64);
  BOOST_TEST(index_select(labels, 0, parts).to_vector<int>() == (std::vector<int>{9, 7, 9, 9}));
  Tensor leaf = raw::clone(x).set_requires_grad();
  Tape tape;
  tape.backward(sum(index_select(leaf, 1, parts) * Tensor::of({{1, 2, 3, 4}, {5, 6, 7, 8}})));
  BOOST_TEST(leaf.grad().to_vector<double>() == (std::vector<double>{2, 0, 8, 6, 0, 20}));
}

// <index_select(x), y> = <x, index_add(0, y)> on a middle axis.
BOOST_AUTO_TEST_CASE(index_add_is_index_selects_adjoint) {
  const Tensor x = sample({3, 4, 5}, 1), y = sample({3, 7, 5}, 2);
  const Tensor at = Tensor::of({3, 0, 0, 2, 3, 3, 1}, DType::i64);
  const double left = sum(index_select(x, 1, at) * y).item();
  const double right = sum(x * index_add(zeros_like(x), 1, at, y)).item();
  BOOST_TEST(left == right, boost::test_tools::tolerance(1e-13));
  BOOST_TEST(index_add(Tensor::of({1, 2, 3}), 0, Tensor::of({2, 2}, DType::i64), Tensor::of({5, 7}))
                 .to_vector<double>() == (std::vector<double>{1, 2, 15}));
}

BOOST_AUTO_TEST_CASE(embedding_by_hand) {
  Tensor w = Tensor::of({{1, 2}, {3, 4}, {5, 6}}).set_requires_grad();
  const Tensor at = Tensor::of({{2, 0, 2}, {1, 2, 1}}, DType::i64);
  Tape tape;
  const Tensor y = embedding(w, at);
  BOOST_TEST(str(y.shape()) == "(2, 3, 2)");
  BOOST_TEST(y.to_vector<double>() == (std::vector<double>{5, 6, 1, 2, 5, 6, 3, 4, 5, 6, 3, 4}));
  const Tensor u = raw::reshape(arange(12, DType::f32), {2, 3, 2});
  tape.backward(sum(y * u));
  BOOST_TEST(w.grad().to_vector<double>() ==
             (std::vector<double>{2, 3, 6 + 10, 7 + 11, 0 + 4 + 8, 1 + 5 + 9}));
  BOOST_TEST(str(embedding(w, Tensor::from(std::vector<int64_t>{1}, {})).shape()) == "(2,)");
}

BOOST_AUTO_TEST_CASE(one_hot_by_hand) {
  const Tensor labels = Tensor::of({2, 0}, DType::i64);
  for (DType dtype : {DType::f32, DType::f64, DType::i64, DType::boolean}) {
    const Tensor y = one_hot(labels, 3, dtype);
    BOOST_TEST((y.dtype() == dtype));
    BOOST_TEST(str(y.shape()) == "(2, 3)");
    BOOST_TEST(y.to_vector<double>() == (std::vector<double>{0, 0, 1, 1, 0, 0}));
  }
}

// Many indices onto few rows, so that threads would collide.
BOOST_AUTO_TEST_CASE(sums_are_the_same_on_any_number_of_threads) {
  const int before = threads();
  const int64_t n = 3001, d = 130;
  Tensor at = empty({n}, DType::i64);
  for (int64_t i = 0; i < n; ++i) at.mutable_data<int64_t>()[i] = (i * 7919) % 5;
  const Tensor dy = raw::cast(sample({n, d}, 1), DType::f32);
  const Tensor spread = raw::clone(raw::expand(raw::reshape(at, {1, n, 1}), {6, n, 13}));
  const Tensor src = raw::cast(sample({6, n, 13}, 2), DType::f32);
  std::vector<std::vector<float>> rows, sums;
  for (int count : {1, 2, 5}) {
    set_threads(count);
    Tensor w = zeros({5, d}).set_requires_grad();
    Tape tape;
    rows.push_back(tape.gradient(sum(embedding(w, at) * dy), w).to_vector<float>());
    sums.push_back(scatter_add(zeros({6, 5, 13}), 1, spread, src).to_vector<float>());
  }
  set_threads(before);
  std::vector<double> expected(static_cast<size_t>(5 * d));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < d; ++j)
      expected[static_cast<size_t>(i * 7919 % 5 * d + j)] += dy.at({i, j});
  for (size_t k = 0; k < expected.size(); ++k)
    BOOST_TEST(std::abs(rows[0][k] - expected[k]) < 600 * 2 * 0x1p-24 * 40);
  BOOST_TEST((rows[1] == rows[0] && rows[2] == rows[0]));
  BOOST_TEST((sums[1] == sums[0] && sums[2] == sums[0]));
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({3, 4});
  BOOST_CHECK_EXCEPTION(gather(x, 1, Tensor::of({{0, 1}, {4, 1}, {0, 0}}, DType::i64)), Error,
                        says("gather: index 4 at (1, 0) of shape (3, 2) is not in [0, 4)"));
  BOOST_CHECK_EXCEPTION(gather(x, 1, zeros({2, 2}, DType::i64)), Error,
                        says("x (3, 4) and index (2, 2) must agree but for axis 1"));
  BOOST_CHECK_EXCEPTION(gather(x, 2, zeros({3, 2}, DType::i64)), Error, says("gather"));
  BOOST_CHECK_EXCEPTION(gather(x, 0, zeros({3, 4})), Error, says("the indices are f32"));
  BOOST_CHECK_EXCEPTION(scatter_add(x, 1, zeros({3, 2}, DType::i64), zeros({3, 3})), Error,
                        says("src (3, 3) and index (3, 2)"));
  BOOST_CHECK_EXCEPTION(scatter_add(x, 1, zeros({3, 2}, DType::i64), zeros({3, 2}, DType::f64)),
                        Error, says("f32 and f64"));
  BOOST_CHECK_EXCEPTION(index_select(x, 1, Tensor::of({0, -1}, DType::i64)), Error,
                        says("index_select: index -1 at (1,) of shape (2,) is not in [0, 4)"));
  BOOST_CHECK_EXCEPTION(index_select(x, 1, zeros({1, 1}, DType::i64)), Error,
                        says("index_select: the indices (1, 1) must be a vector"));
  BOOST_CHECK_EXCEPTION(index_select(x, 2, arange(1)), Error, says("index_select"));
  BOOST_CHECK_EXCEPTION(index_select(x, 0, ones({1})), Error, says("the indices are f32"));
  BOOST_CHECK_EXCEPTION(index_add(x, 1, arange(2), zeros({2, 2})), Error,
                        says("index_add: x (3, 4) and src (2, 2) must agree but for axis 1"));
  BOOST_CHECK_EXCEPTION(embedding(x, Tensor::of({0, -1}, DType::i64)), Error,
                        says("embedding: index -1 at (1,) of shape (2,) is not in [0, 3)"));
  BOOST_CHECK_EXCEPTION(embedding(zeros({3}), zeros({2}, DType::i64)), Error, says("(3,)"));
  BOOST_CHECK_EXCEPTION(one_hot(Tensor::of({3}, DType::i64), 3), Error, says("[0, 3)"));
  BOOST_CHECK_EXCEPTION(one_hot(Tensor::of({0}, DType::i64), 0), Error, says("0 classes"));
}

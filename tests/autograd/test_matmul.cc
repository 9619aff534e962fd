#define BOOST_TEST_MODULE matmul
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradcheck/samples.h>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

namespace {

/// The definition, element by element: y[..., i, j] = sum_k op(a)[..., i, k] op(b)[..., k, j].
std::vector<double> defined(const Tensor& a, const Tensor& b, bool ta, bool tb) {
  const Tensor x = ta ? transpose(a) : a, z = tb ? transpose(b) : b;
  const auto leading = [](const Tensor& t) {
    return Shape(std::span(t.shape().begin(), t.shape().end() - 2));
  };
  const Shape batch = broadcast_shapes("test", leading(x), leading(z));
  const int64_t m = x.size(-2), k = x.size(-1), n = z.size(-1);
  const auto full = [&](const Tensor& t) {
    Shape shape = batch;
    shape.push_back(t.size(-2));
    shape.push_back(t.size(-1));
    return raw::expand(t, shape).to_vector<double>();
  };
  const std::vector<double> xs = full(x), zs = full(z);
  std::vector<double> y;
  for (int64_t p = 0; p < batch.numel(); ++p)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double total = 0;
        for (int64_t l = 0; l < k; ++l)
          total += xs[static_cast<size_t>((p * m + i) * k + l)] *
                   zs[static_cast<size_t>((p * k + l) * n + j)];
        y.push_back(total);
      }
  return y;
}

Tensor constant(const Shape& shape, uint64_t seed, DType dtype) {
  return raw::cast(sample(shape, seed, -1, 1), dtype).set_requires_grad(false);
}

bool same_bits(const Tensor& x, const Tensor& y) {
  const size_t bytes = static_cast<size_t>(x.numel()) * size_of(x.dtype());
  return x.shape() == y.shape() && std::memcmp(x.bytes(), y.bytes(), bytes) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_product_by_hand) {
  const Tensor a = Tensor::of({{1, 2, 3}, {4, 5, 6}}), b = Tensor::of({{1, 0}, {2, -1}, {3, 1}});
  BOOST_TEST(matmul(a, b).to_vector<float>() == (std::vector<float>{14, 1, 32, 1}));
  BOOST_TEST(matmul(a, a, false, true).to_vector<float>() == (std::vector<float>{14, 32, 32, 77}));
}

BOOST_AUTO_TEST_CASE(products_are_the_definition) {
  struct Case {
    Shape a, b;  // of op(a), op(b)
  };
  const Case cases[] = {{{3, 4}, {4, 5}},
                        {{1, 7}, {7, 1}},
                        {{5, 1}, {1, 3}},
                        {{4, 3, 5}, {5, 2}},
                        {{3, 5}, {4, 5, 2}},
                        {{6, 3, 4}, {6, 4, 5}},
                        {{2, 3, 3, 4}, {4, 5}},
                        {{2, 1, 3, 4}, {7, 4, 5}},
                        {{3, 1, 4, 2}, {1, 5, 2, 3}},
                        {{2, 3, 2, 3, 4}, {3, 1, 4, 2}},
                        {{0, 4}, {4, 5}},
                        {{3, 0}, {0, 5}},
                        {{0, 3, 4}, {4, 5}}};
  for (const Case& c : cases)
    for (bool ta : {false, true})
      for (bool tb : {false, true})
        for (DType dtype : {DType::f32, DType::f64}) {
          const auto stored = [](Shape shape, bool transposed) {
            if (transposed) std::swap(shape[shape.ndim() - 1], shape[shape.ndim() - 2]);
            return shape;
          };
          const Tensor a = constant(stored(c.a, ta), 1, dtype);
          const Tensor b = constant(stored(c.b, tb), 2, dtype);
          const std::string what =
              str(c.a) + str(c.b) + name(dtype) + (ta ? " T" : " N") + (tb ? "T" : "N");
          check_close(what, matmul(a, b, ta, tb), defined(a, b, ta, tb),
                      dtype == DType::f32 ? 8 * 0x1p-24 * 4 : 1e-14);
        }
}

BOOST_AUTO_TEST_CASE(operands_may_lie_in_any_order) {
  const Tensor b = constant({5, 4}, 2, DType::f64);
  const Tensor plain = constant({6, 7}, 1, DType::f64);
  const Tensor deep = constant({3, 5, 4, 6}, 3, DType::f64);
  const std::pair<const char*, Tensor> views[] = {
      {"transposed", transpose(constant({5, 3}, 4, DType::f64))},
      {"columns of a wider one", slice(plain, 1, 1, 6)},
      {"every other row", slice(slice(plain, 1, 2, 7), 0, 0, 6, 2)},
      {"every other column", slice(constant({3, 10}, 5, DType::f64), 1, 1, 10, 2)},
      {"one row repeated", expand(constant({1, 5}, 6, DType::f64), {4, 5})},
      {"one column repeated", expand(constant({3, 1}, 7, DType::f64), {3, 5})},
      {"one row of a transpose", slice(transpose(plain), 0, 2, 3)},
      {"heads", slice(permute(deep, {0, 2, 3, 1}), 0, 0, 3, 2)},
      {"heads in front", permute(deep, {3, 0, 2, 1})},
      {"a batch repeated", expand(constant({2, 1, 3, 5}, 8, DType::f64), {2, 4, 3, 5})}};
  for (const auto& [what, x] : views) {
    const Tensor right = x.size(-1) == 5 ? b : constant({x.size(-1), 4}, 9, DType::f64);
    check_close(what, matmul(x, right), defined(x, right, false, false), 1e-14);
    check_close(what, matmul(right, x, true, true), defined(right, x, true, true), 1e-14);
    if (x.ndim() > 2) check_close(what, matmul(x, x, true), defined(x, x, true, false), 1e-13);
  }
}

BOOST_AUTO_TEST_CASE(derivatives_through_views) {
  const Tensor x[] = {sample({4, 3, 2}, 1), sample({5, 4}, 2), sample({3}, 3)};
  const Function f = [](std::span<const Tensor> in) {
    const Tensor a = permute(in[0], {2, 1, 0});    // (2, 3, 4), strided
    const Tensor h = matmul(a, transpose(in[1]));  // (2, 3, 5)
    return linear(transpose(h), expand(unsqueeze(in[2], 0), {2, 3}));
  };
  for (const auto& report : {gradcheck(f, x), gradgradcheck(f, x)})
    BOOST_TEST(report.ok(), report.text());
}

BOOST_AUTO_TEST_CASE(linear_is_the_definition) {
  for (DType dtype : {DType::f32, DType::f64})
    for (const Shape& shape : {Shape{4, 3}, Shape{3}, Shape{2, 5, 3}, Shape{0, 3}, Shape{1, 3}})
      for (bool with_bias : {false, true}) {
        const Tensor x = constant(shape, 1, dtype), w = constant({6, 3}, 2, dtype);
        const Tensor b = with_bias ? constant({6}, 3, dtype) : Tensor();
        const Tensor rows = raw::reshape(x, {x.numel() / 3, 3});
        auto expected = defined(rows, w, false, true);
        if (with_bias) {
          const auto shift = b.to_vector<double>();
          for (size_t i = 0; i < expected.size(); ++i) expected[i] += shift[i % 6];
        }
        const Tensor y = linear(x, w, b);
        Shape result = shape;
        result[result.ndim() - 1] = 6;
        BOOST_TEST(str(y.shape()) == str(result));
        check_close("linear " + str(shape), y, expected, dtype == DType::f32 ? 1e-6 : 1e-14);
      }
  // A transpose, a strided weight and bias.
  const Tensor x = transpose(constant({3, 4}, 1, DType::f64));
  const Tensor w = slice(constant({4, 6}, 2, DType::f64), 1, 0, 6, 2);
  const Tensor b = select(constant({4, 2}, 3, DType::f64), 1, 1);
  auto expected = defined(x, w, false, true);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += b.at({static_cast<int64_t>(i % 4)});
  check_close("strided", linear(x, w, b), expected, 1e-14);
}

BOOST_AUTO_TEST_CASE(linear_with_relu_is_relu_of_linear) {
  const auto run = [](bool fused, Tensor x, Tensor w, Tensor b) {
    for (Tensor* leaf : {&x, &w, &b}) leaf->set_requires_grad();
    Tape tape;
    const Tensor y = fused ? linear(x, w, b, Activation::relu) : relu(linear(x, w, b));
    std::vector<Tensor> all =
        tape.gradient(y, {x, w, b}, {.dy = constant(y.shape(), 4, x.dtype())});
    all.push_back(y);
    return all;
  };
  for (DType dtype : {DType::f32, DType::f64})
    for (const Shape& shape : {Shape{4, 3}, Shape{3}, Shape{2, 5, 3}, Shape{0, 3}, Shape{700, 3}})
      for (double first : {0.5, std::nan(""), double{INFINITY}}) {
        Tensor x = constant(shape, 1, dtype);
        if (x.numel() > 0) {
          Tensor one = slice(raw::reshape(x, {-1}), 0, 0, 1);
          raw::fill(one, first);
        }
        const Tensor w = constant({70, 3}, 2, dtype), b = constant({70}, 3, dtype);
        const auto fused = run(true, x, w, b), apart = run(false, x, w, b);
        for (size_t i = 0; i < fused.size(); ++i)
          BOOST_TEST(same_bits(fused[i], apart[i]), fmt::format("{} {} {}", shape, first, i));
      }
}

// What a frozen weight or input would have kept is not kept.
BOOST_AUTO_TEST_CASE(keeps_only_what_is_needed) {
  Tensor x = sample({3, 4}, 1), w = sample({5, 4}, 2), b = sample({5}, 3);
  x.set_requires_grad(false);
  Tape tape;
  const Tensor y = linear(x, w, b);
  BOOST_TEST(tape.kept_bytes() == static_cast<int64_t>(x.storage_bytes()));
  tape.backward(sum(y));
  BOOST_TEST(w.grad().to_vector<double>()[0] == x.at({0, 0}) + x.at({1, 0}) + x.at({2, 0}),
             boost::test_tools::tolerance(1e-14));
  BOOST_TEST(b.grad().to_vector<double>() == std::vector<double>(5, 3.0));
  BOOST_TEST(!x.grad());
}

// An axis without products beside one with several.
BOOST_AUTO_TEST_CASE(a_batch_may_be_empty) {
  for (const Shape& a : {Shape{0, 1, 3, 4}, Shape{0, 3, 4}, Shape{2, 0, 3, 4}}) {
    Tensor x = zeros(a), w = ones({1, 4, 2});
    x.set_requires_grad();
    w.set_requires_grad();
    Tape tape;
    const Tensor y = matmul(x, w);
    Shape expected = a;
    expected[expected.ndim() - 1] = 2;
    BOOST_TEST((y.shape() == expected));
    tape.backward(sum(y));
    BOOST_TEST((x.grad().shape() == a));
    BOOST_TEST(w.grad().to_vector<double>() == std::vector<double>(8, 0.0));
  }
  BOOST_TEST((matmul(zeros({0, 1, 3, 4}), zeros({1, 5, 4, 2})).shape() == Shape{0, 5, 3, 2}));
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor a = zeros({3, 4}), b = zeros({5, 6});
  BOOST_CHECK_EXCEPTION(matmul(a, b), Error,
                        says("matmul: (3, 4) times (5, 6): the inner sizes 4 and 5 differ"));
  BOOST_CHECK_EXCEPTION(matmul(a, b, false, true), Error, says("(5, 6) transposed"));
  BOOST_CHECK_EXCEPTION(matmul(a, zeros({})), Error, says("(3, 4) times ()"));
  BOOST_CHECK_EXCEPTION(matmul(a, zeros({4, 5}, DType::f64)), Error, says("f32 and f64"));
  BOOST_CHECK_EXCEPTION(matmul(zeros({2, 3}, DType::i64), zeros({3, 2}, DType::i64)), Error,
                        says("matmul: needs f32 or f64, got i64"));
  BOOST_CHECK_EXCEPTION(matmul(zeros({2, 3, 4}), zeros({3, 4, 5})), Error, says("matmul: "));
  BOOST_CHECK_EXCEPTION(linear(a, zeros({4, 5})), Error,
                        says("linear: x (3, 4) with weight (4, 5)"));
  BOOST_CHECK_EXCEPTION(linear(a, zeros({5, 4}), zeros({4})), Error, says("bias (4,)"));
  BOOST_CHECK_EXCEPTION(linear(zeros({}), zeros({5, 4})), Error, says("linear: x ()"));
}

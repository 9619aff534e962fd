#define BOOST_TEST_MODULE conv
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/sample.h>
#include <gradus/tensor/kernels/conv.h>
#include <gradus/tensor/kernels/threads.h>

#include <set>

#include "tests/checks.h"

using namespace gradus;
using kernels::Conv2dShape;
using test::check_close;
using test::says;

namespace {

struct Case {
  Shape x, w;
  Conv2dOptions options;
};

const Case kCases[] = {
    {{3, 2, 5, 7}, {4, 2, 3, 2}, {}},
    {{3, 2, 5, 7}, {4, 2, 3, 2}, {.padding = {1, 2}}},
    {{2, 3, 9, 6}, {5, 3, 2, 3}, {.stride = {2, 3}, .padding = {1, 0}}},
    {{2, 3, 9, 8}, {5, 3, 2, 3}, {.stride = {1, 2}, .padding = {0, 3}, .dilation = {3, 2}}},
    {{3, 6, 5, 4}, {9, 2, 3, 1}, {.padding = {1, 0}, .groups = 3}},
    {{3, 5, 4, 6}, {5, 1, 3, 3}, {.stride = {2, 1}, .padding = {1, 1}, .groups = 5}},
    {{3, 7, 5, 4}, {6, 7, 1, 1}, {}},
    {{3, 6, 5, 4}, {4, 3, 1, 1}, {.groups = 2}},
    {{3, 7, 5, 4}, {6, 7, 1, 1}, {.stride = {2, 2}}},
    {{3, 7, 2, 3}, {4, 7, 1, 1}, {.padding = {1, 1}}},
    {{3, 2, 4, 5}, {3, 2, 4, 5}, {}},
    {{1, 1, 1, 1}, {1, 1, 3, 3}, {.padding = {1, 1}}},
    {{5, 3, 17, 19}, {17, 3, 5, 5}, {.padding = {2, 2}}},
    {{0, 2, 5, 7}, {4, 2, 3, 2}, {}}};

Conv2dShape sizes_of(const Case& c) {
  const Conv2dOptions& o = c.options;
  return {c.x[0],     c.x[1],     c.x[2],      c.x[3],      c.w[0],       c.w[2],       c.w[3],
          o.stride.h, o.stride.w, o.padding.h, o.padding.w, o.dilation.h, o.dilation.w, o.groups};
}

std::string describe(const Case& c) { return str(c.x) + " * " + str(c.w); }

Tensor leaf(const Shape& shape, uint64_t seed, DType dtype) {
  return raw::cast(sample(shape, seed, -1, 1), dtype).set_requires_grad();
}

struct Results {
  Tensor y, dx, dw, db;
};

/// conv2d, and the gradients of <y, dy>.
Results run(const Case& c, const Tensor& x, const Tensor& w, const Tensor& b, uint64_t dy_seed) {
  Tape tape;
  const Tensor y = conv2d(x, w, b, c.options);
  const Tensor dy = raw::cast(sample(y.shape(), dy_seed, -1, 1), y.dtype());
  const auto d = tape.gradient(y, {x, w, b}, {.dy = dy});
  return {y, d[0], d[1], d[2]};
}

/// The inputs and dy as y, or results in the same places: y, and dx, dw, db.
struct Values {
  std::vector<double> x, w, b, y;
};

Values defined(const Conv2dShape& s, const Values& in) {
  Values out{std::vector<double>(in.x.size()), std::vector<double>(in.w.size()),
             std::vector<double>(in.b.size()), std::vector<double>(in.y.size())};
  kernels::naive::conv2d(s, in.x.data(), in.w.data(), in.b.data(), out.y.data());
  kernels::naive::conv2d_input(s, in.y.data(), in.w.data(), out.x.data());
  kernels::naive::conv2d_weight(s, in.x.data(), in.y.data(), out.w.data());
  const size_t plane = static_cast<size_t>(s.output_height() * s.output_width());
  for (size_t i = 0; i < in.y.size(); ++i) out.b[i / plane % out.b.size()] += in.y[i];
  return out;
}

Values absolute(Values v) {
  for (auto* list : {&v.x, &v.w, &v.b, &v.y})
    for (double& value : *list) value = std::abs(value);
  return v;
}

/// A sum's error is measured by the sum of its terms' magnitudes, whatever may cancel.
void check_sums(const std::string& what, const Tensor& actual, const std::vector<double>& expected,
                const std::vector<double>& magnitudes, double tolerance) {
  const auto values = actual.to_vector<double>();
  BOOST_TEST_REQUIRE(values.size() == expected.size(), what);
  for (size_t i = 0; i < values.size(); ++i)
    BOOST_TEST(std::abs(values[i] - expected[i]) <= tolerance * magnitudes[i],
               what << ": element " << i << ": " << values[i] << ", not " << expected[i]);
}

}  // namespace

// Against kernels::naive, in f64 on the very values that f32 had.
BOOST_AUTO_TEST_CASE(values_and_gradients_are_the_definition) {
  for (const Case& c : kCases)
    for (DType dtype : {DType::f32, DType::f64}) {
      const Tensor x = leaf(c.x, 1, dtype), w = leaf(c.w, 2, dtype), b = leaf({c.w[0]}, 3, dtype);
      const Results r = run(c, x, w, b, 4);
      const Conv2dShape s = sizes_of(c);
      const Shape shape{s.batch, s.out_channels, s.output_height(), s.output_width()};
      BOOST_REQUIRE_EQUAL(str(r.y.shape()), str(shape));
      const Tensor dy = raw::cast(sample(shape, 4, -1, 1), dtype);
      const Values inputs{x.to_vector<double>(), w.to_vector<double>(), b.to_vector<double>(),
                          dy.to_vector<double>()};
      const Values expected = defined(s, inputs), magnitudes = defined(s, absolute(inputs));
      const double eps = dtype == DType::f32 ? 0x1p-23 : 0x1p-52;
      const std::string what = describe(c) + " " + name(dtype);
      check_sums("y " + what, r.y, expected.y, magnitudes.y, 4 * eps);
      check_sums("dx " + what, r.dx, expected.x, magnitudes.x, 4 * eps);
      check_sums("dw " + what, r.dw, expected.w, magnitudes.w, 4 * eps);
      check_sums("db " + what, r.db, expected.b, magnitudes.b, 4 * eps);
    }
}

// Each way of computing that the kernel can take, also where it would choose another.
BOOST_AUTO_TEST_CASE(every_path_is_the_definition_and_is_chosen_by_a_case) {
  using kernels::ConvPath;
  std::set<ConvPath> chosen;
  for (const Case& c : kCases) {
    const Conv2dShape s = sizes_of(c);
    chosen.insert(kernels::conv_path(s));
    for (ConvPath path : {ConvPath::pointwise, ConvPath::im2col}) {
      if (!kernels::applies(path, s)) continue;
      const auto x = sample(c.x, 1).to_vector<double>(), w = sample(c.w, 2).to_vector<double>(),
                 dy = sample({s.y_size()}, 3).to_vector<double>();
      std::vector<double> y(dy.size()), dx(x.size()), dw(w.size());
      const std::string what = describe(c) + " " + kernels::name(path);
      const auto compare = [&](const char* result, const std::vector<double>& actual,
                               const std::vector<double>& expected) {
        check_close(result + what, Tensor::from(actual, {static_cast<int64_t>(actual.size())}),
                    expected, 1e-13);
      };
      auto definition = y;
      kernels::conv2d<double>(s, x.data(), w.data(), nullptr, y.data(), path);
      kernels::naive::conv2d<double>(s, x.data(), w.data(), nullptr, definition.data());
      compare("y ", y, definition);
      definition = dx;
      kernels::conv2d_input(s, dy.data(), w.data(), dx.data(), path);
      kernels::naive::conv2d_input(s, dy.data(), w.data(), definition.data());
      compare("dx ", dx, definition);
      definition = dw;
      kernels::conv2d_weight(s, x.data(), dy.data(), dw.data(), path);
      kernels::naive::conv2d_weight(s, x.data(), dy.data(), definition.data());
      compare("dw ", dw, definition);
    }
  }
  BOOST_TEST(chosen.size() == 2u);
}

BOOST_AUTO_TEST_CASE(views_are_read_where_they_lie) {
  const Tensor x = leaf({2, 7, 5, 3}, 1, DType::f64), w = leaf({2, 3, 4, 3}, 2, DType::f64);
  const Tensor plain =
      conv2d(raw::clone(permute(x, {0, 3, 2, 1})), raw::clone(permute(w, {2, 1, 3, 0})));
  Tape tape;
  const Tensor y = conv2d(permute(x, {0, 3, 2, 1}), permute(w, {2, 1, 3, 0}));
  BOOST_TEST(y.to_vector<double>() == plain.to_vector<double>());
  BOOST_TEST(str(tape.gradient(y, x, {.dy = ones_like(y)}).shape()) == str(x.shape()));
}

BOOST_AUTO_TEST_CASE(the_same_bits_on_any_threads) {
  const Case c{{7, 6, 23, 19}, {10, 3, 3, 3}, {.padding = {1, 1}, .groups = 2}};
  const int before = threads();
  std::vector<std::vector<float>> first;
  for (int count : {1, 2, 3}) {
    set_threads(count);
    const Results r =
        run(c, leaf(c.x, 1, DType::f32), leaf(c.w, 2, DType::f32), leaf({10}, 3, DType::f32), 4);
    const std::vector bits{r.y.to_vector<float>(), r.dx.to_vector<float>(), r.dw.to_vector<float>(),
                           r.db.to_vector<float>()};
    if (first.empty()) first = bits;
    BOOST_TEST((bits == first), count << " threads");
  }
  set_threads(before);
}

// What a gradient that nobody wants would read is not kept.
BOOST_AUTO_TEST_CASE(only_what_is_needed_is_kept) {
  const Tensor x = sample({3, 2, 4, 5}, 1).set_requires_grad(false), w = sample({3, 2, 2, 2}, 2);
  Tape tape;
  const Tensor y = conv2d(x, w);
  BOOST_TEST(tape.kept_bytes() == static_cast<int64_t>(x.storage_bytes()));
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({3, 4, 5, 6});
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({2, 3, 2, 2})), Error,
                        says("x (3, 4, 5, 6) must be (N, C, H, W) and weight (2, 3, 2, 2)"));
  BOOST_CHECK_EXCEPTION(conv2d(zeros({4, 5, 6}), zeros({2, 4, 2, 2})), Error, says("x (4, 5, 6)"));
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({3, 2, 2, 2}), {}, {.groups = 2}), Error,
                        says("4 input and 3 output channels do not divide into 2 groups"));
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({2, 4, 2, 2}), {}, {.groups = 0}), Error,
                        says("with 0 groups"));
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({2, 4, 8, 2}), {}, {.padding = {1, 0}}), Error,
                        says("a kernel of 8x2 (dilation 1x1) is larger than the image of 5x6"));
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({2, 4, 2, 2}), zeros({3})), Error,
                        says("bias (3,) for weight (2, 4, 2, 2)"));
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({2, 4, 2, 2}), {}, {.stride = {0, 1}}), Error,
                        says("stride 0x1"));
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({2, 4, 2, 2}), {}, {.padding = {0, -1}}), Error,
                        says("padding 0x-1 is negative"));
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({2, 4, 2, 2}, DType::f64)), Error,
                        says("dtypes f32 and f64 do not mix"));
}

#define BOOST_TEST_MODULE conv
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/kernels/conv/conv.h>
#include <gradus/kernels/conv/naive.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "tests/checks.h"

using namespace gradus;
using kernels::Conv2dShape;
using kernels::ConvPath;
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
    {{2, 1, 12, 28}, {7, 1, 3, 3}, {.padding = {1, 1}}},
    {{3, 2, 9, 21}, {5, 2, 2, 4}, {.padding = {1, 0}, .dilation = {2, 3}}},
    {{2, 6, 4, 9}, {6, 1, 3, 2}, {.padding = {0, 1}, .groups = 6}},
    {{3, 8, 14, 14}, {9, 8, 3, 3}, {.padding = {1, 1}}},
    {{2, 17, 7, 5}, {10, 17, 3, 3}, {.padding = {0, 2}}},
    {{2, 20, 6, 13}, {34, 10, 3, 3}, {.padding = {2, 1}, .groups = 2}},
    {{1, 9, 3, 71}, {8, 9, 3, 3}, {.padding = {1, 1}}},
    {{60, 8, 2, 3}, {8, 8, 3, 3}, {.padding = {1, 1}}},
    {{0, 8, 5, 7}, {8, 8, 3, 3}, {}},
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
void check_sums(const std::string& what, const std::vector<double>& actual,
                const std::vector<double>& expected, const std::vector<double>& magnitudes,
                double tolerance) {
  BOOST_TEST_REQUIRE(actual.size() == expected.size(), what);
  for (size_t i = 0; i < actual.size(); ++i)
    BOOST_TEST(std::abs(actual[i] - expected[i]) <= tolerance * magnitudes[i],
               what << ": element " << i << ": " << actual[i] << ", not " << expected[i]);
}

enum class Of { largest, sum };

/// One number for each run of `length` numbers.
std::vector<double> fold(const std::vector<double>& v, int64_t length, Of of) {
  std::vector<double> folded;
  for (auto run = v.begin(); run != v.end(); run += length)
    folded.push_back(of == Of::sum ? std::accumulate(run, run + length, 0.0)
                                   : *std::max_element(run, run + length));
  return folded;
}

std::vector<double> repeat(const std::vector<double>& v, int64_t times) {
  std::vector<double> repeated;
  for (double value : v) repeated.insert(repeated.end(), static_cast<size_t>(times), value);
  return repeated;
}

/// What a path's errors are measured by, in epsilons times bound_of(path): the magnitudes of each
/// sum's terms; for Winograd, whose transforms mix the pixels of a tile, those of a convolution of
/// images of one pixel, the largest of its plane. On ordinary numbers these bounds are far below
/// kConvError, which tests/kernels/test_conv.cc holds on any.
Values magnitudes_of(ConvPath path, const Conv2dShape& s, const Values& in) {
  const Values size = absolute(in), terms = defined(s, size);
  if (path != ConvPath::winograd) return terms;
  const int64_t in_plane = s.height * s.width, plane = s.output_height() * s.output_width();
  const Conv2dShape one{.batch = s.batch,
                        .in_channels = s.in_channels,
                        .out_channels = s.out_channels,
                        .groups = s.groups};
  const Values largest{fold(size.x, in_plane, Of::largest), fold(size.w, 9, Of::sum), size.b,
                       fold(size.y, plane, Of::largest)};
  const Values for_dw{largest.x, largest.w, size.b, fold(size.y, plane, Of::sum)};
  return {repeat(defined(one, largest).x, in_plane), repeat(defined(one, for_dw).w, 9), terms.b,
          repeat(defined(one, largest).y, plane)};
}

double bound_of(ConvPath path) { return path == ConvPath::winograd ? 16 : 4; }

template <class T>
std::vector<double> doubles(const std::vector<T>& v) {
  return {v.begin(), v.end()};
}

/// `in`'s values as T.
template <class T>
std::vector<T> as(const std::vector<double>& in) {
  return std::vector<T>(in.begin(), in.end());
}

/// y, dx, dw and db by `path` on `in`, against the definition in f64.
template <class T>
void check_path(const Conv2dShape& s, const Values& in, ConvPath path, const std::string& what,
                double times = 1) {
  const auto x = as<T>(in.x), w = as<T>(in.w), b = as<T>(in.b), dy = as<T>(in.y);
  std::vector<T> y(dy.size(), T(7)), dx(x.size(), T(7)), dw(w.size(), T(7)), db(b.size(), T(7));
  kernels::conv2d<T>(s, x.data(), w.data(), b.data(), y.data(), path);
  kernels::conv2d_input<T>(s, dy.data(), w.data(), dx.data(), path);
  kernels::conv2d_weight<T>(s, x.data(), dy.data(), dw.data(), db.data(), path);
  const Values rounded{doubles(x), doubles(w), doubles(b), doubles(dy)};
  const Values expected = defined(s, rounded);
  const Values magnitudes = magnitudes_of(path, s, rounded);
  const double eps = times * bound_of(path) * (sizeof(T) == 4 ? 0x1p-23 : 0x1p-52);
  check_sums("y " + what, doubles(y), expected.y, magnitudes.y, eps);
  check_sums("dx " + what, doubles(dx), expected.x, magnitudes.x, eps);
  check_sums("dw " + what, doubles(dw), expected.w, magnitudes.w, eps);
  check_sums("db " + what, doubles(db), expected.b, magnitudes.b, 4 * eps);

  // Without bias and db, and as the functions without them are used.
  const std::vector<T> with_db = dw, zero(b.size());
  auto plain = y;
  kernels::conv2d<T>(s, x.data(), w.data(), nullptr, plain.data(), path);
  kernels::conv2d<T>(s, x.data(), w.data(), zero.data(), y.data(), path);
  BOOST_TEST((plain == y), what);
  kernels::conv2d_weight<T>(s, x.data(), dy.data(), dw.data(), nullptr, path);
  BOOST_TEST((dw == with_db), what);
}

constexpr ConvPath kPaths[] = {ConvPath::pointwise, ConvPath::im2col, ConvPath::direct,
                               ConvPath::winograd};

bool for_doubles(ConvPath path) { return path == ConvPath::pointwise || path == ConvPath::im2col; }

Values inputs_of(const Case& c, double low = -1) {
  const Conv2dShape s = sizes_of(c);
  return {sample(c.x, 1, low, 1).to_vector<double>(), sample(c.w, 2, -1, 1).to_vector<double>(),
          sample({c.w[0]}, 3, -1, 1).to_vector<double>(),
          sample({s.y_size()}, 4, low, 1).to_vector<double>()};
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
      const Values expected = defined(s, inputs);
      const bool single = dtype == DType::f32;
      const ConvPath path = single ? kernels::conv_path<float>(s) : kernels::conv_path<double>(s);
      const Values magnitudes = magnitudes_of(path, s, inputs);
      const double eps = bound_of(path) * (single ? 0x1p-23 : 0x1p-52);
      const std::string what = describe(c) + " " + name(dtype);
      check_sums("y " + what, r.y.to_vector<double>(), expected.y, magnitudes.y, eps);
      check_sums("dx " + what, r.dx.to_vector<double>(), expected.x, magnitudes.x, eps);
      check_sums("dw " + what, r.dw.to_vector<double>(), expected.w, magnitudes.w, eps);
      check_sums("db " + what, r.db.to_vector<double>(), expected.b, magnitudes.b, 4 * eps);
    }
}

// Each way of computing that the kernel can take, also where it would choose another.
BOOST_AUTO_TEST_CASE(every_path_is_the_definition_and_is_chosen_by_a_case) {
  std::set<ConvPath> chosen, served;
  for (const Case& c : kCases) {
    const Conv2dShape s = sizes_of(c);
    chosen.insert(kernels::conv_path<float>(s));
    BOOST_TEST(for_doubles(kernels::conv_path<double>(s)));
    for (ConvPath path : kPaths) {
      if (!kernels::applies(path, s)) continue;
      served.insert(path);
      const std::string what = describe(c) + " " + kernels::name(path);
      check_path<float>(s, inputs_of(c), path, what);
      // Roundings of sums that stay large add up.
      const double times = path == ConvPath::winograd ? 1 : 4;
      check_path<float>(s, inputs_of(c, 0.5), path, what + ", positive", times);
      Values outliers = inputs_of(c);
      for (size_t i = 0; i < outliers.x.size(); i += 37) outliers.x[i] *= 1e4;
      for (size_t i = 0; i < outliers.y.size(); i += 41) outliers.y[i] *= 1e4;
      for (size_t i = 0; i < outliers.w.size(); i += 31) outliers.w[i] *= 1e3;
      check_path<float>(s, outliers, path, what + ", with outliers", times);
      if (for_doubles(path)) check_path<double>(s, inputs_of(c), path, what + ", f64");
    }
  }
  BOOST_TEST(chosen.size() == std::size(kPaths));
  BOOST_TEST(served.size() == std::size(kPaths));
}

// Many channels and numbers of very different sizes, the worst that was found for it.
BOOST_AUTO_TEST_CASE(winograd_rounds_within_its_bound) {
  const Case c{{2, 96, 14, 13}, {24, 96, 3, 3}, {.padding = {1, 1}}};
  const auto spread = [](std::vector<double> v, double by) {
    for (double& value : v) value = std::copysign(std::exp(by * value), value);
    return v;
  };
  for (double by : {0.01, 3.0, 9.0}) {
    Values in = inputs_of(c);
    in = {spread(in.x, by), spread(in.w, by), in.b, spread(in.y, by)};
    check_path<float>(sizes_of(c), in, ConvPath::winograd, fmt::format("spread by {}", by));
    for (auto* images : {&in.x, &in.y})
      for (double& value : *images) value = std::abs(value);
    check_path<float>(sizes_of(c), in, ConvPath::winograd, fmt::format("positive, by {}", by));
  }
}

// Numbers of any size: sums scale with their terms.
BOOST_AUTO_TEST_CASE(large_and_small_numbers) {
  const Case c{{2, 9, 11, 14}, {8, 9, 3, 3}, {.padding = {1, 1}}};
  struct Sizes {
    double x, w, dy;
  };
  for (const Sizes& size :
       {Sizes{1e-30, 1, 1e-3}, Sizes{1e30, 1e-30, 1e-3}, Sizes{1e36, 1e-2, 1e-3},
        Sizes{1e-3, 1e-2, 1e36}, Sizes{1e-3, 1e35, 1e-3}})
    for (ConvPath path : kPaths) {
      if (!kernels::applies(path, sizes_of(c))) continue;
      Values in = inputs_of(c);
      for (double& v : in.x) v *= size.x;
      for (double& v : in.w) v *= size.w;
      for (double& v : in.y) v *= size.dy;
      check_path<float>(
          sizes_of(c), in, path,
          fmt::format("{}, x {}, w {}, dy {}", kernels::name(path), size.x, size.w, size.dy));
    }
}

// One NaN or infinity in x: what sees it is not finite, the rest as it would be without it.
BOOST_AUTO_TEST_CASE(what_is_not_finite_reaches_those_who_see_it) {
  const Case c{{1, 8, 24, 24}, {8, 8, 3, 3}, {.padding = {1, 1}}};
  const Conv2dShape s = sizes_of(c);
  const Values in = inputs_of(c);
  for (double bad : {std::numeric_limits<double>::quiet_NaN(), HUGE_VAL})
    for (ConvPath path : kPaths) {
      if (!kernels::applies(path, s)) continue;
      auto x = as<float>(in.x);
      const auto w = as<float>(in.w);
      std::vector<float> y(in.y.size()), clean(in.y.size());
      kernels::conv2d<float>(s, x.data(), w.data(), nullptr, clean.data(), path);
      x[10 * 24 + 13] = static_cast<float>(bad);
      kernels::conv2d<float>(s, x.data(), w.data(), nullptr, y.data(), path);
      for (int64_t o = 0, k = 0; o < 8; ++o)
        for (int64_t i = 0; i < 24; ++i)
          for (int64_t j = 0; j < 24; ++j, ++k) {
            const int64_t away = std::max(std::abs(i - 10), std::abs(j - 13));
            const auto at = static_cast<size_t>(k);
            if (away <= 1)
              BOOST_TEST(!std::isfinite(y[at]));
            else
              BOOST_TEST(std::abs(y[at] - clean[at]) <= (away > 5 ? 0 : 1e-4));
          }
    }
}

// d/dx and d/dw of <dx, u> + <dw, v>, in f32 by the fast paths against f64.
BOOST_AUTO_TEST_CASE(second_order_on_the_fast_paths) {
  using kernels::ConvPath;
  const std::pair<Case, ConvPath> cases[] = {
      {{{2, 9, 6, 7}, {8, 9, 3, 3}, {.padding = {1, 0}}}, ConvPath::winograd},
      {{{2, 2, 6, 9}, {3, 2, 3, 2}, {.padding = {1, 1}}}, ConvPath::direct}};
  for (const auto& [c, path] : cases) {
    BOOST_TEST((kernels::conv_path<float>(sizes_of(c)) == path));
    std::vector<std::vector<double>> results[2];
    for (DType dtype : {DType::f64, DType::f32}) {
      const Tensor x = leaf(c.x, 1, dtype), w = leaf(c.w, 2, dtype), b = leaf({c.w[0]}, 3, dtype);
      Tape tape;
      const Tensor y = conv2d(x, w, b, c.options);
      const auto d =
          tape.gradient(sum(mul(y, square(y))), {x, w, b}, {.create_graph = CreateGraph::yes});
      const Tensor u = raw::cast(sample(c.x, 4, -1, 1), dtype),
                   v = raw::cast(sample(c.w, 5, -1, 1), dtype);
      const Tensor total = add(add(sum(mul(d[0], u)), sum(mul(d[1], v))), sum(d[2]));
      for (const Tensor& g : tape.gradient(total, {x, w, b}))
        results[dtype == DType::f32].push_back(g.to_vector<double>());
    }
    for (size_t i = 0; i < 3; ++i) {
      double largest = 0;
      for (double v : results[0][i]) largest = std::max(largest, std::abs(v));
      for (size_t k = 0; k < results[0][i].size(); ++k)
        BOOST_TEST(std::abs(results[0][i][k] - results[1][i][k]) <= 1e-5 * largest);
    }
  }
}

// In the convolution and in its gradients: bits tell the paths apart.
BOOST_AUTO_TEST_CASE(an_algorithm_can_be_asked_for) {
  Case c{{2, 8, 9, 10}, {9, 8, 3, 3}, {.padding = {1, 1}}};
  const Conv2dShape s = sizes_of(c);
  const auto floats = [](const Tensor& t) { return raw::clone(t).to_vector<float>(); };
  const std::pair<ConvAlgorithm, ConvPath> algorithms[] = {
      {ConvAlgorithm::automatic, ConvPath::winograd},
      {ConvAlgorithm::im2col, ConvPath::im2col},
      {ConvAlgorithm::direct, ConvPath::direct},
      {ConvAlgorithm::winograd, ConvPath::winograd}};
  for (const auto& [algorithm, path] : algorithms) {
    c.options.algorithm = algorithm;
    const Tensor x = leaf(c.x, 1, DType::f32), w = leaf(c.w, 2, DType::f32),
                 b = leaf({9}, 3, DType::f32);
    const Results r = run(c, x, w, b, 4);
    const auto xs = floats(x), ws = floats(w), bs = floats(b),
               dy = floats(raw::cast(sample(r.y.shape(), 4, -1, 1), DType::f32));
    std::vector<float> y(dy.size()), dx(xs.size()), dw(ws.size()), db(bs.size());
    kernels::conv2d<float>(s, xs.data(), ws.data(), bs.data(), y.data(), path);
    kernels::conv2d_input<float>(s, dy.data(), ws.data(), dx.data(), path);
    kernels::conv2d_weight<float>(s, xs.data(), dy.data(), dw.data(), db.data(), path);
    BOOST_TEST((floats(r.y) == y && floats(r.dx) == dx && floats(r.dw) == dw));
  }
  BOOST_CHECK_EXCEPTION(
      conv2d(zeros({1, 2, 5, 5}), zeros({3, 2, 3, 2}), {}, {.algorithm = ConvAlgorithm::winograd}),
      Error, says("the path winograd cannot serve a kernel of 3x2"));
  BOOST_CHECK_EXCEPTION(conv2d(zeros({1, 2, 5, 5}, DType::f64), zeros({3, 2, 3, 3}, DType::f64), {},
                               {.algorithm = ConvAlgorithm::direct}),
                        Error, says("the path direct is for f32 alone"));
}

BOOST_AUTO_TEST_CASE(a_path_that_cannot_serve_is_an_error) {
  const Conv2dShape s{.batch = 2,
                      .in_channels = 3,
                      .height = 7,
                      .width = 8,
                      .out_channels = 4,
                      .kernel_h = 3,
                      .kernel_w = 2,
                      .stride_h = 2};
  std::vector<float> x(s.x_size()), w(s.w_size()), y(s.y_size());
  for (ConvPath path : {ConvPath::pointwise, ConvPath::direct, ConvPath::winograd})
    BOOST_CHECK_EXCEPTION(
        kernels::conv2d<float>(s, x.data(), w.data(), nullptr, y.data(), path), Error,
        says(fmt::format("the path {} cannot serve a kernel of 3x2 with stride 2x1",
                         kernels::name(path))));
  Conv2dShape one = s;
  one.stride_h = 1;
  std::vector<double> xd(one.x_size()), wd(one.w_size()), yd(one.y_size());
  BOOST_CHECK_EXCEPTION(
      kernels::conv2d<double>(one, xd.data(), wd.data(), nullptr, yd.data(), ConvPath::direct),
      Error, says("the path direct is for f32 alone"));
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
  const Case cases[] = {{{7, 6, 23, 19}, {10, 3, 3, 3}, {.padding = {1, 1}, .groups = 2}},
                        {{7, 16, 23, 19}, {24, 16, 3, 3}, {.padding = {1, 1}}},
                        {{40, 16, 14, 14}, {20, 16, 3, 3}, {.padding = {1, 1}}},
                        {{40, 1, 28, 28}, {16, 1, 3, 3}, {.padding = {1, 1}}},
                        {{7, 6, 23, 19}, {10, 6, 3, 3}, {.stride = {2, 2}}}};
  const int before = threads();
  for (const Case& c : cases) {
    std::vector<std::vector<float>> first;
    for (int count : {1, 2, 3}) {
      set_threads(count);
      const Results r = run(c, leaf(c.x, 1, DType::f32), leaf(c.w, 2, DType::f32),
                            leaf({c.w[0]}, 3, DType::f32), 4);
      const std::vector bits{r.y.to_vector<float>(), r.dx.to_vector<float>(),
                             r.dw.to_vector<float>(), r.db.to_vector<float>()};
      if (first.empty()) first = bits;
      BOOST_TEST((bits == first), describe(c) << ", " << count << " threads");
    }
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
  BOOST_CHECK_EXCEPTION(conv2d(zeros({5, 6}), zeros({2, 4, 2, 2})), Error, says("x (5, 6)"));
  BOOST_CHECK_EXCEPTION(conv2d(x, zeros({2, 4, 2})), Error, says("weight (2, 4, 2)"));
  BOOST_CHECK_EXCEPTION(
      conv2d(x, zeros({2, 4, 2, 2}), {}, {.stride = {1, 2}, .padding = Padding::same()}), Error,
      says("needs a stride of 1, not 1x2"));
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

BOOST_AUTO_TEST_CASE(bad_input_of_the_family) {
  const Tensor x = zeros({3, 4, 5, 6}), w = zeros({4, 2, 3, 3}), row = zeros({3, 4, 6});
  BOOST_CHECK_EXCEPTION(conv1d(x, zeros({2, 4, 3})), Error, says("conv1d: x (3, 4, 5, 6)"));
  BOOST_CHECK_EXCEPTION(conv1d(row, zeros({2, 3, 3})), Error, says("conv1d: x (3, 4, 1, 6)"));
  BOOST_CHECK_EXCEPTION(conv1d(row, zeros({2, 4, 3}), {}, {.padding = {1, 2}}), Error,
                        says("padding 1x2 along one axis"));
  BOOST_CHECK_EXCEPTION(conv_transpose2d(x, zeros({2, 4, 3, 3})), Error,
                        says("conv_transpose2d: x (3, 4, 5, 6)"));
  BOOST_CHECK_EXCEPTION(conv_transpose2d(x, w, zeros({3})), Error, says("2 output channels"));
  BOOST_CHECK_EXCEPTION(conv_transpose2d(x, w, {}, {.stride = 2, .output_padding = 2}), Error,
                        says("output_padding 2 must be below stride 2 or dilation 1"));
  BOOST_CHECK_EXCEPTION(conv_transpose2d(x, w, {}, {.padding = 9}), Error,
                        says("padding 9 leaves"));
  BOOST_CHECK_EXCEPTION(conv_transpose2d(x, w, {}, {.groups = 3}), Error, says("with 3 groups"));
  BOOST_CHECK_EXCEPTION(conv_transpose2d(zeros({1, 4, 0, 3}), w), Error, says("need elements"));
  BOOST_CHECK_EXCEPTION(conv_transpose1d(row, zeros({4, 2, 3}), {}, {.stride = 0}), Error,
                        says("conv_transpose1d: "));
}

// <conv2d(x, w), dy> = <x, conv_transpose2d(dy, w)>, whatever the windows.
BOOST_AUTO_TEST_CASE(transposed_is_adjoint) {
  const Pair strides[] = {1, {2, 1}, {3, 2}}, paddings[] = {0, {1, 2}};
  for (const Pair& stride : strides)
    for (const Pair& padding : paddings)
      for (const int64_t groups : {1, 2}) {
        const Conv2dOptions options{.stride = stride, .padding = padding, .groups = groups};
        const Tensor x = test::wave({3, 4, 7, 9}, 1.1, 0.3),
                     w = test::wave({6, 4 / groups, 3, 2}, 1.7, 0.9), y = conv2d(x, w, {}, options),
                     dy = test::wave(y.shape(), 0.8, 0.2);
        const Pair rest{(7 + 2 * padding.h - 3) % stride.h, (9 + 2 * padding.w - 2) % stride.w};
        const Tensor dx = conv_transpose2d(
            dy, w, {},
            {.stride = stride, .padding = padding, .output_padding = rest, .groups = groups});
        BOOST_TEST_REQUIRE((dx.shape() == x.shape()));
        const double there = sum(y * dy).item(), back = sum(x * dx).item();
        BOOST_TEST(std::abs(there - back) <= 1e-12 * sum(abs(x * dx)).item());
      }
}

BOOST_AUTO_TEST_CASE(names_of_windows) {
  BOOST_TEST(str(Pair(3)) == "3");
  BOOST_TEST(str(Pair(3, 2)) == "3x2");
  BOOST_TEST(str(Padding(1, 2)) == "1x2");
  BOOST_TEST(str(Padding::same()) == "same");
}

#define BOOST_TEST_MODULE pool
#include <gradus/autograd/ops/pool.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/kernels/pooling/naive.h>
#include <gradus/kernels/pooling/pooling.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <set>
#include <type_traits>

#include "tests/checks.h"

using namespace gradus;
using kernels::Pool2dShape;
using kernels::PoolPath;
using test::check_close;
using test::says;

namespace {

struct Case {
  Shape x;
  Pair kernel;
  Pool2dOptions options;
};

const Case kCases[] = {
    {{3, 2, 4, 6}, {2, 3}, {}},
    {{2, 3, 5, 7}, {3, 2}, {.stride = Pair{2, 1}, .padding = {1, 1}}},
    {{2, 3, 6, 5}, {3, 2}, {.stride = Pair{2, 2}, .ceil_mode = true}},
    {{2, 3, 5, 6}, {3, 4}, {.stride = Pair{3, 3}, .padding = {1, 2}, .ceil_mode = true}},
    {{2, 1, 5, 6},
     {3, 2},
     {.stride = Pair{2, 2}, .padding = {1, 1}, .ceil_mode = true, .count_include_pad = false}},
    {{3, 1, 4, 5}, {4, 5}, {}},
    {{2, 3, 6, 28}, {2, 2}, {}},
    {{2, 2, 5, 37}, {3, 3}, {.stride = Pair{2, 2}, .padding = {1, 1}}},
    {{1, 2, 4, 19}, {2, 4}, {.stride = Pair{1, 1}, .padding = {0, 2}}},
    {{0, 2, 4, 6}, {2, 3}, {}}};

constexpr PoolPath kPaths[] = {PoolPath::one_by_one, PoolPath::windows};

Pool2dShape sizes_of(const Case& c) {
  const Pair stride = c.options.stride.value_or(c.kernel);
  return {.planes = c.x[0] * c.x[1],
          .height = c.x[2],
          .width = c.x[3],
          .kernel_h = c.kernel.h,
          .kernel_w = c.kernel.w,
          .stride_h = stride.h,
          .stride_w = stride.w,
          .padding_h = c.options.padding.h,
          .padding_w = c.options.padding.w,
          .dilation_h = c.options.dilation.h,
          .dilation_w = c.options.dilation.w,
          .ceil_mode = c.options.ceil_mode,
          .count_include_pad = c.options.count_include_pad};
}

/// Calls f with every case's x, in both dtypes.
template <class F>
void for_cases(std::span<const Case> cases, F f) {
  for (const Case& c : cases)
    for (DType dtype : {DType::f32, DType::f64}) {
      const Tensor x = raw::cast(sample(c.x, 1), dtype).set_requires_grad();
      f(c, x, str(c.x) + " " + std::to_string(c.kernel.h) + "x" + std::to_string(c.kernel.w));
    }
}

Tensor gradient_of(const std::function<Tensor(const Tensor&)>& f, const Tensor& x,
                   const Tensor& dy) {
  Tape tape;
  return tape.gradient(f(x), x, {.dy = dy});
}

/// A linear map's transpose times dy, from its values at the unit vectors.
std::vector<double> transposed(const std::function<Tensor(const Tensor&)>& f, const Shape& x_shape,
                               const Tensor& dy) {
  const auto dys = dy.to_vector<double>();
  std::vector<double> dx;
  for (int64_t i = 0; i < x_shape.numel(); ++i) {
    Tensor unit = zeros(x_shape, DType::f64);
    unit.mutable_data<double>()[i] = 1;
    const auto column = f(unit).to_vector<double>();
    double total = 0;
    for (size_t k = 0; k < dys.size(); ++k) total += column[k] * dys[k];
    dx.push_back(total);
  }
  return dx;
}

}  // namespace

/// With dilated ones, for max pooling alone.
std::vector<Case> max_cases() {
  std::vector<Case> cases(std::begin(kCases), std::end(kCases));
  cases.push_back({{2, 3, 7, 8}, {2, 3}, {.stride = Pair{1, 2}, .dilation = {3, 2}}});
  cases.push_back(
      {{2, 3, 5, 4}, {3, 2}, {.stride = Pair{1, 1}, .padding = {1, 1}, .dilation = {2, 3}}});
  return cases;
}

BOOST_AUTO_TEST_CASE(max_is_the_definition) {
  for_cases(max_cases(), [](const Case& c, const Tensor& x, const std::string& what) {
    const Tensor y = max_pool2d(x, c.kernel, c.options);
    const Pool2dShape s = sizes_of(c);
    const auto xs = x.to_vector<double>();
    std::vector<double> expected(static_cast<size_t>(s.y_size()));
    std::vector<int64_t> places(expected.size());
    kernels::naive::max_pool2d(s, xs.data(), expected.data(), places.data());
    check_close("max " + what, y, expected, 0);
    // Each dy arrives at the element that its window took.
    const Tensor dy = raw::cast(sample(y.shape(), 2), x.dtype());
    std::vector<double> dx(xs.size());
    const int64_t plane = s.output_height() * s.output_width();
    const auto dys = dy.to_vector<double>();
    for (size_t k = 0; k < dys.size(); ++k)
      dx[static_cast<size_t>(static_cast<int64_t>(k) / plane * s.height * s.width + places[k])] +=
          dys[k];
    check_close(
        "max' " + what,
        gradient_of([&](const Tensor& v) { return max_pool2d(v, c.kernel, c.options); }, x, dy), dx,
        x.dtype() == DType::f32 ? 1e-6 : 1e-15);
  });
}

// Values and places, with many equal values, NaNs and infinities, at widths around whole vectors.
template <class T>
void check_ties() {
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  struct Window {
    int64_t kernel, stride, padding;
  };
  for (int64_t width : {2, 7, 8, 14, 15, 28, 33, 40})
    for (const Window& w :
         {Window{2, 2, 0}, Window{3, 2, 1}, Window{3, 1, 1}, Window{2, 1, 0}, Window{5, 3, 2}}) {
      const Pool2dShape s{.planes = 3,
                          .height = 6,
                          .width = width,
                          .kernel_h = w.kernel,
                          .kernel_w = w.kernel,
                          .stride_h = w.stride,
                          .stride_w = w.stride,
                          .padding_h = w.padding,
                          .padding_w = w.padding};
      std::vector<T> x(static_cast<size_t>(s.x_size()));
      for (size_t i = 0; i < x.size(); ++i) {
        const size_t draw = i * i * 7 % 23;  // a few values, over and over
        x[i] = draw == 1 ? nan : draw == 4 ? inf : draw < 12 ? -inf : static_cast<T>(draw % 3);
      }
      std::vector<T> y(static_cast<size_t>(s.y_size())), expected(y);
      std::vector<int64_t> places(y.size()), expected_places(y.size());
      kernels::naive::max_pool2d(s, x.data(), expected.data(), expected_places.data());
      for (PoolPath path : kPaths) {
        if (!kernels::applies(path, s)) continue;
        kernels::max_pool2d(s, x.data(), y.data(), places.data(), path);
        BOOST_TEST(places == expected_places, boost::test_tools::per_element());
        BOOST_TEST(std::memcmp(y.data(), expected.data(), y.size() * sizeof(T)) == 0,
                   "width " << width << ", kernel " << w.kernel << ", stride " << w.stride << ", "
                            << kernels::name(path));
      }
    }
}

BOOST_AUTO_TEST_CASE(max_with_ties_and_what_is_not_finite) {
  check_ties<float>();
  check_ties<double>();
}

template <class T>
void check_paths(std::set<PoolPath>& chosen, std::set<PoolPath>& served) {
  for (const Case& c : max_cases()) {
    const Pool2dShape s = sizes_of(c);
    chosen.insert(kernels::pool_path(s));
    const Tensor drawn = raw::cast(sample(c.x, 3), dtype_of<T>);
    const T* x = drawn.data<T>();
    std::vector<T> y(static_cast<size_t>(s.y_size())), expected(y);
    std::vector<int64_t> places(y.size()), expected_places(y.size());
    kernels::naive::max_pool2d(s, x, expected.data(), expected_places.data());
    for (PoolPath path : kPaths) {
      if (!kernels::applies(path, s)) continue;
      served.insert(path);
      kernels::max_pool2d(s, x, y.data(), places.data(), path);
      BOOST_TEST((y == expected && places == expected_places), str(c.x)
                                                                   << " " << kernels::name(path));
    }
  }
}

BOOST_AUTO_TEST_CASE(every_path_is_the_definition_and_is_chosen_by_a_case) {
  std::set<PoolPath> chosen, served;
  check_paths<float>(chosen, served);
  check_paths<double>(chosen, served);
  BOOST_TEST(chosen.size() == std::size(kPaths));
  BOOST_TEST(served.size() == std::size(kPaths));
  const Pool2dShape wide{.height = 4, .width = 9, .kernel_w = 2, .stride_w = 3};
  std::vector<float> x(36), y(12);
  std::vector<int64_t> places(12);
  BOOST_CHECK_EXCEPTION(
      kernels::max_pool2d(wide, x.data(), y.data(), places.data(), PoolPath::windows), Error,
      says("the path windows cannot serve a stride of 3"));
}

BOOST_AUTO_TEST_CASE(average_is_the_definition) {
  for_cases(kCases, [](const Case& c, const Tensor& x, const std::string& what) {
    const auto pool = [&](const Tensor& v) { return avg_pool2d(v, c.kernel, c.options); };
    const Tensor y = pool(x);
    const Pool2dShape s = sizes_of(c);
    const auto xs = x.to_vector<double>();
    std::vector<double> expected(static_cast<size_t>(s.y_size()));
    kernels::naive::avg_pool2d(s, xs.data(), expected.data());
    const double tolerance = x.dtype() == DType::f32 ? 1e-6 : 1e-14;
    check_close("average " + what, y, expected, tolerance);
    const Tensor dy = raw::cast(sample(y.shape(), 2), x.dtype());
    check_close("average' " + what, gradient_of(pool, x, dy), transposed(pool, c.x, dy), tolerance);
  });
}

BOOST_AUTO_TEST_CASE(adaptive_average_is_the_definition) {
  for (Pair output : {Pair{1, 1}, {2, 3}, {5, 7}, {3, 4}, {7, 9}}) {
    const Shape shape{2, 3, 5, 7};
    const auto pool = [&](const Tensor& v) { return adaptive_avg_pool2d(v, output); };
    for (DType dtype : {DType::f32, DType::f64}) {
      const Tensor x = raw::cast(sample(shape, 1), dtype).set_requires_grad();
      const Tensor y = pool(x);
      std::vector<double> expected;
      for (int64_t p = 0; p < 6; ++p)
        for (int64_t i = 0; i < output.h; ++i)
          for (int64_t j = 0; j < output.w; ++j) {
            double total = 0,
                   count = 0;  // cell (h, w) of x meets output (i, j)'s share of the image
            for (int64_t h = 0; h < 5; ++h)
              for (int64_t w = 0; w < 7; ++w)
                if (h * output.h < (i + 1) * 5 && (h + 1) * output.h > i * 5 &&
                    w * output.w < (j + 1) * 7 && (w + 1) * output.w > j * 7) {
                  total += x.at({p / 3, p % 3, h, w});
                  ++count;
                }
            expected.push_back(total / count);
          }
      const std::string what = std::to_string(output.h) + "x" + std::to_string(output.w);
      const double tolerance = dtype == DType::f32 ? 1e-6 : 1e-14;
      check_close("adaptive " + what, y, expected, tolerance);
      const auto xs = x.to_vector<double>();
      kernels::naive::adaptive_avg_pool2d(6, 5, 7, output.h, output.w, xs.data(), expected.data());
      check_close("adaptive " + what, y, expected, tolerance);
      const Tensor dy = raw::cast(sample(y.shape(), 2), dtype);
      const Tensor dx = gradient_of(pool, x, dy);
      check_close("adaptive' " + what, dx, transposed(pool, shape, dy), tolerance);
      const auto dys = dy.to_vector<double>();
      std::vector<double> defined(static_cast<size_t>(shape.numel()));
      kernels::naive::adaptive_avg_pool2d_backward(6, 5, 7, output.h, output.w, dys.data(),
                                                   defined.data());
      check_close("adaptive' " + what, dx, defined, tolerance);
    }
  }
}

/// Windows of few and of many elements, as wide as the image and not, that overlap or leave gaps.
std::vector<std::function<Tensor(const Tensor&)>> averages() {
  std::vector<std::function<Tensor(const Tensor&)>> all;
  for (Pair size : {Pair{2, 2},
                    {3, 3},
                    {8, 8},
                    {1, 61},
                    {9, 9},
                    {1, 72},
                    {70, 3},
                    {72, 1},
                    {3, 72},
                    {72, 72}}) {
    for (const int64_t step : {1, 3, 80})
      for (const bool padded : {false, true})
        all.push_back([=](const Tensor& x) {
          const Pair padding = padded ? Pair{size.h / 2, size.w / 2} : Pair{0, 0};
          return avg_pool2d(
              x, size,
              {.stride = Pair{step, 2 * step}, .padding = padding, .count_include_pad = false});
        });
    all.push_back([=](const Tensor& x) { return adaptive_avg_pool2d(x, size); });
  }
  return all;
}

// The mean of equal numbers is that number, the smallest and the largest included.
template <class T>
void check_means_of_equal_numbers() {
  using limits = std::numeric_limits<T>;
  for (const T value : {T(1.9394188), T(1) / 3, T(1e-37), limits::min(), limits::denorm_min(),
                        limits::max() / 8, limits::max()})
    for (const auto& pool : averages()) {
      const Tensor y = pool(full({1, 2, 72, 72}, static_cast<double>(value), dtype_of<T>));
      double off = 0;
      for (int64_t i = 0; i < y.numel(); ++i) {
        const auto d = static_cast<double>(std::abs(y.data<T>()[i] / value - 1));
        off = d <= off ? off : d;
      }
      BOOST_TEST(off <= (std::is_same_v<T, float> ? 0x1p-20 : 0x1p-45), value);
    }
}

BOOST_AUTO_TEST_CASE(means_of_equal_numbers) {
  check_means_of_equal_numbers<float>();
  check_means_of_equal_numbers<double>();
}

// Sums that leave f32 on the way, and others, each way, against f64.
BOOST_AUTO_TEST_CASE(averages_in_f32) {
  for (const double size : {1.9394188, 1e-36, 2.6e38})
    for (const bool signs : {false, true})
      for (const auto& pool : averages()) {
        const auto numbers = [&](const Shape& shape) {
          Tensor x = full(shape, size);
          for (int64_t i = 0; i < x.numel() && signs; ++i)
            if (i / 5 % 2) x.mutable_data<float>()[i] *= -1;
          return x;
        };
        const Tensor x = numbers({1, 1, 72, 72}).set_requires_grad();
        const Tensor wide = raw::cast(x, DType::f64).set_requires_grad();
        const Tensor y = pool(x), dy = numbers(y.shape());
        const auto compare = [](const Tensor& got, const Tensor& expected, double largest) {
          const auto a = got.to_vector<double>(), b = expected.to_vector<double>();
          double off = 0;
          for (size_t i = 0; i < a.size(); ++i) {
            largest = std::max(largest, std::abs(b[i]));
            if (std::abs(b[i]) > 3.4e38) continue;
            const double d = std::abs(a[i] - b[i]);
            off = d <= off ? off : d;
          }
          BOOST_TEST(off <= 0x1p-20 * largest + 0x1p-149, off << " of " << largest);
        };
        compare(y, pool(wide), size);  // the mean of the sizes, of numbers that may cancel
        compare(gradient_of(pool, x, dy), gradient_of(pool, wide, raw::cast(dy, DType::f64)), 0);
      }
}

BOOST_AUTO_TEST_CASE(equal_ones_nan_and_infinity) {
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               inf = std::numeric_limits<double>::infinity();
  Tensor x = raw::reshape(Tensor::of({3, 3, 1, 2, 3, 0, -inf, -inf, -inf, 5, nan, 7}, DType::f64),
                          {1, 1, 2, 6})
                 .set_requires_grad();
  Tape tape;
  const Tensor y = max_pool2d(x, {2, 2});
  BOOST_TEST(y.at({0, 0, 0, 0}) == 3);
  BOOST_TEST(y.at({0, 0, 0, 1}) == 5);
  BOOST_TEST(std::isnan(y.at({0, 0, 0, 2})));
  check_close(
      "dx", tape.gradient(y, x, {.dy = raw::reshape(Tensor::of({2, 4, 8}, DType::f64), y.shape())}),
      {2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 8, 0}, 0);
  // Padding never wins, even over what is smaller than anything.
  const Tensor low = full({1, 1, 2, 2}, -inf, DType::f64);
  for (double v : max_pool2d(low, {2, 2}, {.padding = {1, 1}}).to_vector<double>())
    BOOST_TEST(v == -inf);
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({3, 4, 5, 6});
  BOOST_CHECK_EXCEPTION(max_pool2d(zeros({5, 6}), {2, 2}), Error,
                        says("max_pool2d: x must be (N, C, H, W) or (C, H, W), is (5, 6)"));
  BOOST_CHECK_EXCEPTION(max_pool2d(x, {6, 2}), Error,
                        says("a window of 6x2 is larger than the image of 5x6"));
  BOOST_CHECK_EXCEPTION(avg_pool2d(x, {2, 2}, {.padding = {2, 0}}), Error,
                        says("padding 2x0 must lie between 0 and half the kernel of 2x2"));
  BOOST_CHECK_EXCEPTION(avg_pool2d(x, {2, 2}, {.dilation = {1, 2}}), Error,
                        says("avg_pool2d: has no dilation, got 1x2"));
  BOOST_CHECK_EXCEPTION(max_pool2d(x, {2, 2}, {.stride = Pair{1, 0}}), Error, says("stride 1x0"));
  BOOST_CHECK_EXCEPTION(adaptive_avg_pool2d(x, {0, 2}), Error, says("(3, 4, 5, 6) to 0x2"));
  BOOST_CHECK_EXCEPTION(max_pool2d(zeros({3, 4, 5, 6}, DType::i64), {2, 2}), Error,
                        says("needs f32 or f64"));
  // One window would see the padding before and after the image, and nothing of it.
  BOOST_CHECK_EXCEPTION(max_pool2d(zeros({1, 1, 2, 2}), {2, 2},
                                   {.stride = Pair{1, 1}, .padding = {1, 1}, .dilation = {3, 3}}),
                        Error, says("a window lies wholly outside the image of 2x2"));
}

BOOST_AUTO_TEST_CASE(bad_input_along_one_axis_and_back) {
  const Tensor x = zeros({3, 4, 6});
  BOOST_CHECK_EXCEPTION(max_pool1d(zeros({6}), 2), Error,
                        says("max_pool1d: x must be (N, C, L) or (C, L), is (6,)"));
  BOOST_CHECK_EXCEPTION(avg_pool1d(x, 7), Error, says("avg_pool1d: a window of 1x7"));
  BOOST_CHECK_EXCEPTION(avg_pool1d(x, 2, {.dilation = 2}), Error, says("avg_pool1d: has no"));
  BOOST_CHECK_EXCEPTION(adaptive_avg_pool1d(x, 0), Error, says("adaptive_avg_pool1d: "));
  const Tensor y = zeros({2, 2, 3}), places = zeros({2, 2, 3}, DType::i64);
  BOOST_CHECK_EXCEPTION(max_unpool2d(y, zeros({2, 3}, DType::i64), 2), Error,
                        says("x (2, 2, 3) and indices (2, 3)"));
  BOOST_CHECK_EXCEPTION(max_unpool2d(y, zeros({2, 2, 3}), 2), Error, says("max_unpool2d"));
  BOOST_CHECK_EXCEPTION(max_unpool2d(y, places, 2, {.output_size = Pair(4, 8)}), Error,
                        says("to 4x8; kernel 2, stride 2 and padding 0 lead to 4x6"));
  Tensor outside = raw::clone(places);
  outside.mutable_data<int64_t>()[7] = 24;  // of 4 x 6
  BOOST_CHECK_EXCEPTION(max_unpool2d(y, outside, 2), Error, says("max_unpool2d"));
}

// Where each window's largest came from it goes back to, and what was not chosen is 0.
BOOST_AUTO_TEST_CASE(unpooling_is_poolings_way_back) {
  const Tensor x = test::wave({2, 3, 5, 7}, 1.3, 0.4);
  const auto [y, places] = max_pool2d_with_indices(x, 2);
  const Tensor back = max_unpool2d(y, places, 2, {.output_size = Pair(5, 7)});
  BOOST_TEST((back.shape() == x.shape()));
  int64_t chosen = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double v = back.to_vector<double>()[static_cast<size_t>(i)];
    chosen += v != 0;
    BOOST_TEST((v == 0 || v == x.to_vector<double>()[static_cast<size_t>(i)]));
  }
  BOOST_TEST(chosen == y.numel());
}

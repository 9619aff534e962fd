#define BOOST_TEST_MODULE conv_rule
// What conv.h promises of every path, on numbers that are chosen to break it.

#include <gradus/kernels/conv/conv.h>
#include <gradus/kernels/conv/naive.h>
#include <gradus/kernels/runtime/threads.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace gradus::kernels;

namespace {

constexpr ConvPath kPaths[] = {ConvPath::pointwise, ConvPath::im2col, ConvPath::direct,
                               ConvPath::winograd};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <class T>
struct Arrays {
  explicit Arrays(const Conv2dShape& s)
      : x(static_cast<size_t>(s.x_size())),
        w(static_cast<size_t>(s.w_size())),
        b(static_cast<size_t>(s.out_channels)),
        y(static_cast<size_t>(s.y_size())) {}
  std::vector<T> x, w, b, y;  // y: also dy
};

/// For each element of a result: its value by the definition, the largest magnitude of what it
/// sees, and the sum that this is multiplied by in its bound.
struct Expected {
  explicit Expected(size_t n) : value(n), seen(n), sum(n), finite(n, 1) {}
  std::vector<double> value, seen, sum;
  std::vector<char> finite;  // whether all that it sees is

  void add(size_t at, double p, double q, double watched) {
    value[at] += p * q;
    finite[at] &= std::isfinite(p) && std::isfinite(q);
    if (std::isfinite(watched)) seen[at] = std::max(seen[at], std::abs(watched));
  }
};

double finite_size(double v) { return std::isfinite(v) ? std::abs(v) : 0; }

template <class T>
struct Definition {
  Definition(const Conv2dShape& s, const Arrays<T>& in)
      : y(in.y.size()), dx(in.x.size()), dw(in.w.size()), db(in.b.size()) {
    const auto plane = static_cast<size_t>(s.output_height() * s.output_width());
    const auto x_plane = static_cast<size_t>(s.height * s.width);
    const auto taps = static_cast<size_t>(s.kernel_h * s.kernel_w);
    const auto group_in = static_cast<size_t>(s.group_in()),
               in_channels = static_cast<size_t>(s.in_channels);
    std::vector<double> by_out(in.b.size()), by_in(in_channels), dy_sum(in.b.size()),
        x_largest(in_channels);
    for (size_t k = 0; k < in.w.size(); ++k) {
      const size_t o = k / taps / group_in, g = o / static_cast<size_t>(s.group_out());
      by_out[o] += finite_size(in.w[k]);
      by_in[g * group_in + k / taps % group_in] += finite_size(in.w[k]);
    }
    for (size_t k = 0; k < in.y.size(); ++k)
      dy_sum[k / plane % in.b.size()] += finite_size(in.y[k]);
    for (size_t k = 0; k < in.x.size(); ++k) {
      double& largest = x_largest[k / x_plane % in_channels];
      largest = std::max(largest, finite_size(in.x[k]));
    }
    naive::for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) {
      const auto a = static_cast<size_t>(ix), b = static_cast<size_t>(iw),
                 c = static_cast<size_t>(iy);
      const double x = in.x[a], w = in.w[b], gradient = in.y[c];
      y.add(c, x, w, x);
      dx.add(a, gradient, w, gradient);
      dw.add(b, x, gradient, 0);
    });
    for (size_t k = 0; k < in.y.size(); ++k) {
      const size_t o = k / plane % in.b.size();
      y.value[k] += in.b[o];
      y.sum[k] = by_out[o];
      db.value[o] += in.y[k];
    }
    for (size_t k = 0; k < in.x.size(); ++k) dx.sum[k] = by_in[k / x_plane % in_channels];
    for (size_t k = 0; k < in.w.size(); ++k) {
      const size_t o = k / taps / group_in, g = o / static_cast<size_t>(s.group_out());
      dw.seen[k] = x_largest[g * group_in + k / taps % group_in];
      dw.sum[k] = dy_sum[o];
    }
    db.sum = dy_sum;
    std::fill(db.seen.begin(), db.seen.end(), 1.0);
  }
  Expected y, dx, dw, db;
};

/// `terms`: how many products a result sums, each of which may underflow.
template <class T>
void check_rule(const std::string& what, const std::vector<T>& actual, const Expected& expected,
                double terms) {
  for (size_t i = 0; i < actual.size(); ++i) {
    const double is = actual[i], value = expected.value[i];
    const T rounded = static_cast<T>(value);
    bool right = false;
    if (!std::isfinite(rounded))
      right = std::isnan(rounded) ? std::isnan(is) : is == static_cast<double>(rounded);
    else if (expected.seen[i] == 0 && expected.finite[i])
      right = is == value;
    else
      right = std::abs(is - value) <= kConvError * expected.seen[i] * expected.sum[i] +
                                          std::numeric_limits<T>::epsilon() * std::abs(value) +
                                          terms * std::numeric_limits<T>::denorm_min();
    BOOST_TEST(right, what << " " << i << ": " << is << ", not " << value << " within "
                           << kConvError * expected.seen[i] * expected.sum[i]);
    if (!right) return;
  }
}

template <class T>
void check_paths(const Conv2dShape& s, const Arrays<T>& in, const std::string& what,
                 bool with_bias = true) {
  const Definition<T> expected(s, in);
  for (ConvPath path : kPaths) {
    if (!applies(path, s) || (sizeof(T) == 8 && path > ConvPath::im2col)) continue;
    Arrays<T> out(s);
    conv2d<T>(s, in.x.data(), in.w.data(), with_bias ? in.b.data() : nullptr, out.y.data(), path);
    conv2d_input<T>(s, in.y.data(), in.w.data(), out.x.data(), path);
    conv2d_weight<T>(s, in.x.data(), in.y.data(), out.w.data(), out.b.data(), path);
    const std::string where = what + " " + name(path);
    const double taps = static_cast<double>(s.kernel_h * s.kernel_w);
    check_rule("y " + where, out.y, expected.y, taps * static_cast<double>(s.group_in()));
    check_rule("dx " + where, out.x, expected.dx, taps * static_cast<double>(s.group_out()));
    check_rule("dw " + where, out.w, expected.dw, static_cast<double>(s.y_size() / s.out_channels));
    check_rule("db " + where, out.b, expected.db, 0);
  }
}

using Random = std::mt19937;

double uniform(Random& random) { return std::uniform_real_distribution<double>(-1, 1)(random); }
int64_t below(Random& random, int64_t n) {
  return std::uniform_int_distribution<int64_t>(0, n - 1)(random);
}

/// How the numbers of images or weights are drawn.
struct Numbers {
  const char* name;
  std::function<void(Random&, std::vector<double>&, int64_t plane, int64_t channels)> fill;
};

/// An extreme number in some places.
double extreme(Random& random) {
  const double sign = uniform(random) < 0 ? -1 : 1;
  switch (below(random, 8)) {
    case 0:
      return kNan;
    case 1:
      return sign * kInfinity;
    case 2:
      return sign * 3.4e38 * std::abs(uniform(random));
    case 3:
      return sign * 1e-45 * static_cast<double>(below(random, 100));
    case 4:
      return 0;
    default:
      return sign * std::pow(10.0, 30 * uniform(random));
  }
}

const Numbers kNumbers[] = {
    {"normal",
     [](Random& random, std::vector<double>& v, int64_t, int64_t) {
       std::normal_distribution<double> normal;
       for (double& one : v) one = normal(random);
     }},
    {"nine of ten zero",
     [](Random& random, std::vector<double>& v, int64_t, int64_t) {
       for (double& one : v) one = below(random, 10) == 0 ? uniform(random) : 0;
     }},
    {"the same in all channels",
     [](Random& random, std::vector<double>& v, int64_t plane, int64_t channels) {
       for (size_t i = 0; i < v.size(); ++i) {
         const size_t p = static_cast<size_t>(plane);
         const bool first = i / p % static_cast<size_t>(channels) == 0;
         v[i] = first ? uniform(random) : v[i - p];
       }
     }},
    {"one number", [](Random& random, std::vector<double>& v, int64_t,
                      int64_t) { std::fill(v.begin(), v.end(), uniform(random)); }},
    {"planes of few pixels, the same in all channels",
     [](Random& random, std::vector<double>& v, int64_t plane, int64_t channels) {
       for (size_t i = 0; i < v.size(); ++i) {
         const size_t p = static_cast<size_t>(plane);
         const bool first = i / p % static_cast<size_t>(channels) == 0;
         const double one = below(random, 4) == 0 ? uniform(random) : 0;
         v[i] = first ? one * (below(random, 2) == 0 ? 1 : 0.02) : v[i - p];
       }
     }},
    {"any size", [](Random& random, std::vector<double>& v, int64_t, int64_t) {
       for (double& one : v)
         one = std::copysign(std::pow(10.0, 5 * uniform(random)), uniform(random));
     }}};

Arrays<double> numbers(Random& random, const Conv2dShape& s, const Numbers& x, const Numbers& w,
                       const Numbers& dy) {
  Arrays<double> in(s);
  x.fill(random, in.x, s.height * s.width, s.in_channels);
  w.fill(random, in.w, s.kernel_h * s.kernel_w, s.group_in());
  dy.fill(random, in.y, s.output_height() * s.output_width(), s.out_channels);
  for (double& b : in.b) b = uniform(random);
  return in;
}

template <class T>
Arrays<T> as(const Conv2dShape& s, const Arrays<double>& in) {
  Arrays<T> out(s);
  const auto copy = [](const std::vector<double>& from, std::vector<T>& to) {
    for (size_t i = 0; i < from.size(); ++i) to[i] = static_cast<T>(from[i]);
  };
  copy(in.x, out.x), copy(in.w, out.w), copy(in.b, out.b), copy(in.y, out.y);
  return out;
}

void put(Random& random, std::vector<double>& v, int64_t count, double value) {
  for (int64_t i = 0; i < count; ++i)
    v[static_cast<size_t>(below(random, static_cast<int64_t>(v.size())))] = value;
}

const Conv2dShape kShapes[] = {{.batch = 2,
                                .in_channels = 8,
                                .height = 11,
                                .width = 14,
                                .out_channels = 9,
                                .kernel_h = 3,
                                .kernel_w = 3,
                                .padding_h = 1,
                                .padding_w = 1},
                               {.batch = 1,
                                .in_channels = 17,
                                .height = 7,
                                .width = 21,
                                .out_channels = 8,
                                .kernel_h = 3,
                                .kernel_w = 3,
                                .padding_h = 0,
                                .padding_w = 2},
                               {.batch = 2,
                                .in_channels = 20,
                                .height = 6,
                                .width = 5,
                                .out_channels = 16,
                                .kernel_h = 3,
                                .kernel_w = 3,
                                .padding_h = 2,
                                .padding_w = 0,
                                .groups = 2},
                               {.batch = 1,
                                .in_channels = 8,
                                .height = 5,
                                .width = 71,
                                .out_channels = 8,
                                .kernel_h = 3,
                                .kernel_w = 3,
                                .padding_h = 1,
                                .padding_w = 1},
                               {.batch = 1,
                                .in_channels = 70,
                                .height = 6,
                                .width = 6,
                                .out_channels = 8,
                                .kernel_h = 3,
                                .kernel_w = 3},
                               {.batch = 3,
                                .in_channels = 3,
                                .height = 9,
                                .width = 8,
                                .out_channels = 5,
                                .kernel_h = 2,
                                .kernel_w = 3,
                                .stride_h = 1,
                                .stride_w = 2,
                                .padding_h = 1,
                                .padding_w = 3,
                                .dilation_h = 3,
                                .dilation_w = 2},
                               {.batch = 2,
                                .in_channels = 4,
                                .height = 6,
                                .width = 9,
                                .out_channels = 6,
                                .kernel_h = 3,
                                .kernel_w = 2,
                                .padding_h = 1,
                                .padding_w = 1,
                                .groups = 2},
                               {.batch = 2,
                                .in_channels = 5,
                                .height = 4,
                                .width = 5,
                                .out_channels = 4,
                                .kernel_h = 1,
                                .kernel_w = 1}};

}  // namespace

BOOST_AUTO_TEST_CASE(ordinary_numbers) {
  Random random(1);
  for (const Conv2dShape& s : kShapes)
    for (const Numbers& x : kNumbers)
      for (const Numbers& w : kNumbers) {
        const Arrays<double> in = numbers(random, s, x, w, x);
        check_paths<float>(s, as<float>(s, in), std::string(x.name) + " * " + w.name);
      }
}

// One pixel of x and of dy at every place of a 6x6 tile and beyond.
BOOST_AUTO_TEST_CASE(a_pixel_reaches_those_who_see_it) {
  Random random(2);
  const Conv2dShape& s = kShapes[0];
  const auto plane = static_cast<size_t>(s.height * s.width);
  const double sizes[] = {20, 100, 1e4, -1e9, 1e30, kNan, -kInfinity};
  for (size_t at = 0; at < plane; ++at) {
    const double size = sizes[at % std::size(sizes)];
    const Numbers& one = kNumbers[static_cast<size_t>(below(random, 4))];
    Arrays<double> in = numbers(random, s, one, kNumbers[below(random, 2) * 2], one);
    const auto channel = static_cast<size_t>(below(random, 8));
    in.x[channel * plane + at] = size;
    in.y[channel * plane + at] = size;
    check_paths<float>(s, as<float>(s, in),
                       std::string(one.name) + ", one " + std::to_string(size));
  }
}

// The same in every channel, so that the errors of the transforms do not cancel.
BOOST_AUTO_TEST_CASE(pixels_of_all_channels) {
  Random random(3);
  for (int64_t channels : {8, 16, 32, 33, 64, 150})
    for (double size = 1; size < 1e4; size *= 1.9) {
      const Conv2dShape s{.batch = 1,
                          .in_channels = channels,
                          .height = 8,
                          .width = 8,
                          .out_channels = 8,
                          .kernel_h = 3,
                          .kernel_w = 3,
                          .padding_h = 1,
                          .padding_w = 1};
      Arrays<double> in = numbers(random, s, kNumbers[3], kNumbers[2], kNumbers[3]);
      for (int spikes = 0; spikes < 4; ++spikes) {
        const auto at = static_cast<size_t>(below(random, 64));
        const double spike = size * uniform(random);
        for (size_t c = 0; c < static_cast<size_t>(channels); ++c) in.x[c * 64 + at] = spike;
        for (size_t c = 0; c < 8; ++c) in.y[c * 64 + at] = spike;
      }
      check_paths<float>(s, as<float>(s, in),
                         std::to_string(channels) + " channels, " + std::to_string(size));
    }
}

BOOST_AUTO_TEST_CASE(extreme_numbers_anywhere) {
  Random random(4);
  for (int trial = 0; trial < 250; ++trial) {
    const Conv2dShape& s = kShapes[static_cast<size_t>(trial) % std::size(kShapes)];
    const Numbers& x = kNumbers[static_cast<size_t>(below(random, std::size(kNumbers)))];
    const Numbers& w = kNumbers[static_cast<size_t>(below(random, std::size(kNumbers)))];
    Arrays<double> in = numbers(random, s, x, w, x);
    const auto some = [&] { return below(random, 3) * below(random, 3); };
    for (int64_t i = some(); i > 0; --i) put(random, in.x, 1, extreme(random));
    for (int64_t i = some(); i > 0; --i) put(random, in.y, 1, extreme(random));
    if (trial % 3 == 0)
      for (int64_t i = some(); i > 0; --i) put(random, in.w, 1, extreme(random));
    if (trial % 5 == 0) put(random, in.b, 1, extreme(random));
    const std::string what = "trial " + std::to_string(trial) + ", " + x.name + " * " + w.name;
    check_paths<float>(s, as<float>(s, in), what);
    check_paths<double>(s, as<double>(s, in), what + ", f64");
  }
}

// All of one size, so that products or sums on the way leave the range that results stay in.
BOOST_AUTO_TEST_CASE(the_whole_range) {
  Random random(5);
  for (const Conv2dShape& s : kShapes)
    for (double x : {1e-45, 1e-40, 1e-30, 1e-15, 1.0, 1e15, 1e30, 3e38})
      for (double w : {1e-45, 1e-38, 1e-20, 1.0, 1e20, 3e38}) {
        Arrays<double> in = numbers(random, s, kNumbers[0], kNumbers[0], kNumbers[0]);
        const auto scale = [](std::vector<double>& v, double by) {
          for (double& one : v) one = std::clamp(one, -1.1, 1.1) * by;
        };
        scale(in.x, x), scale(in.w, w), scale(in.y, x);
        check_paths<float>(
            s, as<float>(s, in),
            "x " + std::to_string(std::log10(x)) + " w " + std::to_string(std::log10(w)));
      }
}

// Large numbers that cancel: no partial sum may overflow into the result.
BOOST_AUTO_TEST_CASE(sums_that_cancel) {
  for (const Conv2dShape& s : kShapes) {
    Arrays<double> in(s);
    std::fill(in.x.begin(), in.x.end(), 3e38);
    std::fill(in.y.begin(), in.y.end(), 3e38);
    for (size_t i = 0; i < in.w.size(); ++i) in.w[i] = i % 4 < 2 ? 1 : -1;
    for (size_t i = 0; i < in.y.size(); ++i) in.y[i] *= i % 4 < 2 ? 1 : -1;
    check_paths<float>(s, as<float>(s, in), "cancelling");
    Arrays<float> out(s);
    const Arrays<float> floats = as<float>(s, in);
    conv2d<float>(s, floats.x.data(), floats.w.data(), nullptr, out.y.data());
  }
}

// One large term and then many that, one by one, vanish beside it: n of them added up in a row are
// off by n 2^-24.
BOOST_AUTO_TEST_CASE(many_terms_beside_a_large_one) {
  const auto shape = [](int64_t in, int64_t out, int64_t kernel, int64_t size) {
    return Conv2dShape{.in_channels = in,
                       .height = size,
                       .width = size,
                       .out_channels = out,
                       .kernel_h = kernel,
                       .kernel_w = kernel};
  };
  Conv2dShape strided = shape(1, 1, 65, 67);
  strided.stride_w = 2;
  const Conv2dShape shapes[] = {shape(450, 2, 3, 3),
                                shape(900, 4, 3, 4),
                                shape(4, 900, 3, 4),
                                shape(320, 8, 5, 6),
                                shape(8, 320, 5, 6),
                                shape(7000, 2, 1, 3),
                                shape(2, 7000, 1, 3),
                                shape(1, 1, 66, 67),
                                shape(1, 1, 3, 300),
                                shape(8, 8, 3, 80),
                                strided};
  for (const Conv2dShape& s : shapes)
    for (const bool last : {false, true}) {
      Arrays<double> in(s);
      std::fill(in.x.begin(), in.x.end(), 1.0);
      std::fill(in.w.begin(), in.w.end(), 0.99 * 0x1p-24);
      std::fill(in.y.begin(), in.y.end(), 1.0);
      const int64_t taps = s.kernel_h * s.kernel_w, row = s.group_in() * taps;
      // in the sums of the outputs, then in those of the inputs
      for (int64_t k = last ? row - 1 : 0; k < s.w_size(); k += row)
        in.w[static_cast<size_t>(k)] = 1;
      check_paths<float>(s, as<float>(s, in), "a large weight of an output", false);
      std::fill(in.w.begin(), in.w.end(), 0.99 * 0x1p-24);
      const int64_t o = last ? s.out_channels - 1 : 0;
      for (int64_t k = 0; k < row; ++k)
        if (k % taps == (last ? 0 : taps - 1)) in.w[static_cast<size_t>(o * row + k)] = 1;
      check_paths<float>(s, as<float>(s, in), "a large weight of an input", false);
      const int64_t plane = s.output_height() * s.output_width();
      std::fill(in.y.begin(), in.y.end(), 0.99 * 0x1p-24);
      for (int64_t k = last ? plane - 1 : 0; k < s.y_size(); k += plane)
        in.y[static_cast<size_t>(k)] = 1;
      check_paths<float>(s, as<float>(s, in), "a large gradient", false);
    }
}

// A large bias is added once.
BOOST_AUTO_TEST_CASE(a_large_bias) {
  Random random(6);
  for (const Conv2dShape& s : kShapes) {
    Arrays<double> in = numbers(random, s, kNumbers[0], kNumbers[0], kNumbers[0]);
    for (double& b : in.b) b *= 1e9;
    check_paths<float>(s, as<float>(s, in), "a large bias");
  }
}

BOOST_AUTO_TEST_CASE(hostile_numbers_give_the_same_bits_on_any_threads) {
  Random random(7);
  const Conv2dShape s{.batch = 9,
                      .in_channels = 16,
                      .height = 23,
                      .width = 19,
                      .out_channels = 24,
                      .kernel_h = 3,
                      .kernel_w = 3,
                      .padding_h = 1,
                      .padding_w = 1};
  Arrays<double> in = numbers(random, s, kNumbers[1], kNumbers[0], kNumbers[1]);
  for (int i = 0; i < 200; ++i)
    put(random, in.x, 1, extreme(random)), put(random, in.y, 1, extreme(random));
  const Arrays<float> floats = as<float>(s, in);
  const int before = thread_count();
  std::vector<float> first;
  for (int count : {1, 2, 3}) {
    set_thread_count(count);
    Arrays<float> out(s);
    conv2d<float>(s, floats.x.data(), floats.w.data(), floats.b.data(), out.y.data());
    conv2d_input<float>(s, floats.y.data(), floats.w.data(), out.x.data());
    conv2d_weight<float>(s, floats.x.data(), floats.y.data(), out.w.data(), out.b.data());
    std::vector<float> all = out.y;
    for (const auto* more : {&out.x, &out.w, &out.b})
      all.insert(all.end(), more->begin(), more->end());
    if (first.empty()) first = all;
    BOOST_TEST(std::memcmp(all.data(), first.data(), all.size() * sizeof(float)) == 0);
  }
  set_thread_count(before);
}

#define BOOST_TEST_MODULE norm_range
#include <gradus/kernels/norm/in_double.h>
#include <gradus/kernels/norm/naive.h>
#include <gradus/kernels/norm/norm.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

using namespace gradus;
using namespace gradus::kernels;

// f32's norms over its whole range against the definition in f64, f64's against that in long
// double: what both can hold is off by at most 2^-20 of the largest of its row or channel (f64:
// 2^-45), of sizes that normal numbers have.
namespace {

template <class T>
using Exact = std::conditional_t<std::is_same_v<T, float>, double, long double>;
template <class T>
constexpr Exact<T> kBound = std::is_same_v<T, float> ? 0x1p-20 : 0x1p-45;
/// Below it bits may have been lost to denormal numbers.
template <class T>
constexpr Exact<T> kSmall = std::is_same_v<T, float> ? 0x1p-100 : 0x1p-980;
template <class T>
constexpr Exact<T> kMost = std::is_same_v<T, float> ? 3.4e38 : 1.797e308;

/// What x, dy and w are multiplied by, what is added to x, and eps.
struct Range {
  double scale, mean, dy_scale = 1, w_scale = 1, eps = 1e-5;
};

template <class T>
std::vector<Range> ranges();
template <>
std::vector<Range> ranges<float>() {
  std::vector<Range> all{{1e38, 3e38}, {1, 8e6}, {1e30, -1e30}};
  for (double exponent = -36; exponent <= 38; exponent += 4)
    for (double mean : {0.0, 3.0, 1e3})
      for (double dy : {1.0, 1e-30, 1e30, 1e36, 2e38})
        for (double eps : {1e-5, 1e-12}) {
          const double scale = std::pow(10, exponent);
          // Cut off to f32's largest all would be equal, and nothing left but f64's rounding.
          if (scale * mean < 1e39) all.push_back({scale, mean * scale, dy, 1, eps});
        }
  for (double w : {1e-36, 1e-30, 1e-20, 1e-10, 1.0, 1e10, 1e20, 1e30, 1e36})
    for (double scale : {1e-36, 1e-20, 1e-10, 1.0, 1e11, 1e20, 1e38})
      for (double dy : {1e-30, 1e-15, 1.0, 1e15, 1e25, 2e38}) all.push_back({scale, scale, dy, w});
  for (double exponent = -2; exponent <= 7; ++exponent) {
    all.push_back({1, std::pow(10, exponent)});
    all.push_back({1e-6, std::pow(10, exponent - 6)});  // eps is larger than the variance
  }
  return all;
}

template <>
std::vector<Range> ranges<double>() {
  std::vector<Range> all{{1e305, 1e305}, {1e300, -1e300}};
  for (double exponent : {-300, -160, -100, 0, 100, 150, 160, 200, 300})
    for (double mean : {0.0, 3.0})
      for (double dy : {1.0, 1e-200, 1e200})
        for (double eps : {1e-5, 1e-300}) {
          const double scale = std::pow(10, exponent);
          all.push_back({scale, mean * scale, dy, 1, eps});
        }
  for (double w : {1e-300, 1e-200, 1.0, 1e200, 1e300})
    for (double scale : {1e-200, 1.0, 1e200})
      for (double dy : {1e-200, 1.0, 1e200}) all.push_back({scale, scale, dy, w});
  return all;
}

template <class T>
T fitting(Exact<T> v) {
  return static_cast<T>(std::clamp<Exact<T>>(v, -kMost<T>, kMost<T>));
}

template <class T>
struct Problem {
  Problem(int64_t n, int64_t weights, const Range& r, unsigned seed)
      : x(n), dy(n), w(weights), b(weights), valid(new bool[static_cast<size_t>(n)]) {
    std::mt19937 random(seed);
    std::normal_distribution<Exact<T>> normal;
    for (T& v : x) v = fitting<T>(normal(random) * r.scale + r.mean);
    for (T& v : dy) v = fitting<T>(normal(random) * r.dy_scale);
    for (T& v : w) v = fitting<T>((normal(random) + 2) * r.w_scale);
    for (T& v : b) v = fitting<T>(normal(random) * 0.1 * r.w_scale);
    for (int64_t i = 0; i < n; ++i) valid[static_cast<size_t>(i)] = random() % 4 != 0;
  }
  std::vector<T> x, dy, w, b;
  std::unique_ptr<bool[]> valid;

  NormInput<T> input(bool masked, bool relu) const {
    return {x.data(), masked ? valid.get() : nullptr, w.data(), b.data(), relu};
  }
};

/// The same numbers, wider.
template <class T>
struct Wide {
  explicit Wide(const Problem<T>& p)
      : x(p.x.begin(), p.x.end()),
        dy(p.dy.begin(), p.dy.end()),
        w(p.w.begin(), p.w.end()),
        b(p.b.begin(), p.b.end()) {}
  std::vector<Exact<T>> x, dy, w, b;
};

template <class T>
struct Results {
  Results(int64_t n, int64_t weights)
      : y(n), dx(n), dw(weights), db(weights), mean(n), var(n), rstd(n) {}
  std::vector<T> y, dx, dw, db, mean, var, rstd;
};

template <class T>
bool holds(Exact<T> v) {
  return std::abs(v) <= kMost<T>;
}

/// group(i): which row or channel element i is of; `largest_term`: of sums that may cancel;
/// `before`: what a relu has cut, whose largest counts, too.
template <class T, class Group>
void compare(const std::string& what, const std::vector<T>& got,
             const std::vector<Exact<T>>& expected, int64_t groups, Group group,
             Exact<T> largest_term = 0, const std::vector<Exact<T>>& before = {}) {
  std::vector<Exact<T>> largest(static_cast<size_t>(groups), largest_term),
      error(static_cast<size_t>(groups));
  for (size_t i = 0; i < before.size(); ++i) {
    Exact<T>& most = largest[static_cast<size_t>(group(static_cast<int64_t>(i)))];
    most = std::max(most, std::abs(before[i]));
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto g = static_cast<size_t>(group(static_cast<int64_t>(i)));
    largest[g] = std::max(largest[g], std::abs(expected[i]));
    if (!holds<T>(expected[i])) continue;
    const Exact<T> off = std::abs(static_cast<Exact<T>>(got[i]) - expected[i]);
    error[g] = off <= error[g] ? error[g] : off;  // NaN counts
  }
  for (size_t g = 0; g < largest.size(); ++g)
    if (!(error[g] <= kBound<T> * std::max(largest[g], kSmall<T>)))
      BOOST_ERROR(what << ": group " << g << " is off by " << error[g] << " of " << largest[g]);
}

std::string described(const Range& r, bool masked, bool relu) {
  return "x " + std::to_string(std::log10(r.scale)) + " mean 1e" +
         std::to_string(std::log10(std::abs(r.mean))) + " dy 1e" +
         std::to_string(std::log10(r.dy_scale)) + " w 1e" + std::to_string(std::log10(r.w_scale)) +
         " eps " + std::to_string(r.eps) + (masked ? " masked" : "") + (relu ? " relu" : "");
}

/// The relu's mask is checked where the definition is not within rounding of 0: elsewhere dy is 0.
template <class T>
void off_the_kink(Problem<T>& p, const std::vector<Exact<T>>& y) {
  Exact<T> largest = 0;
  for (Exact<T> v : y) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < y.size(); ++i)
    if (std::abs(y[i]) <= largest * 1e-5) p.dy[i] = 0;
}

/// dw and db, whose terms are dy's size.
template <class T>
void compare_sums(const std::string& what, const std::vector<T>& got,
                  const std::vector<Exact<T>>& expected, const Problem<T>& p) {
  Exact<T> largest = 0;
  for (Exact<T> dy : p.dy) largest = std::max(largest, std::abs(dy));
  compare(
      what, got, expected, 1, [](int64_t) { return 0; }, largest);
}

const NormRows kRows[] = {{3, 1, 37}, {3, 2, 36, 9}, {3, 3, 12, 12},     {3, 1, 37, 1, false},
                          {3, 1, 5},  {3, 2, 8, 2},  {3, 1, 2, 1, false}};

template <class T>
void check_rows(const NormRows& s, const Range& r, bool masked, bool relu) {
  const int64_t rows = s.samples * s.groups, n = rows * s.d, weights = s.weights();
  Problem<T> p(n, weights, r, 5);
  Wide<T> wide(p);
  const bool* valid = masked ? p.valid.get() : nullptr;
  std::vector<Exact<T>> y(n), dx(n), dw(weights), db(weights);
  const NormInput<Exact<T>> linear{wide.x.data(), valid, wide.w.data(), wide.b.data()};
  naive::row_norm(s, r.eps, linear, y.data());
  if (relu) off_the_kink(p, y);
  const std::vector<Exact<T>> before = y;
  wide = Wide<T>(p);
  NormInput<Exact<T>> exact = linear;
  exact.x = wide.x.data(), exact.w = wide.w.data(), exact.b = wide.b.data(), exact.relu = relu;
  naive::row_norm(s, r.eps, exact, y.data());
  naive::row_norm_backward<Exact<T>>(s, r.eps, exact, wide.dy.data(),
                                     {dx.data(), dw.data(), db.data()});
  Results<T> got(n, weights);
  row_norm<T>(s, r.eps, p.input(masked, relu), got.y.data(), got.mean.data(), got.rstd.data());
  row_norm_backward<T>(s, r.eps, p.input(masked, relu), got.mean.data(), got.rstd.data(),
                       p.dy.data(), {got.dx.data(), got.dw.data(), got.db.data()});
  const std::string of = (s.centred ? "rows of " : "rows about 0 of ") + std::to_string(s.d) +
                         " values, " + described(r, masked, relu);
  const auto row = [&](int64_t i) { return i / s.d; };
  compare(of + " y", got.y, y, rows, row, {}, before);
  compare(of + " dx", got.dx, dx, rows, row);
  compare_sums(of + " dw", got.dw, dw, p);
  compare_sums(of + " db", got.db, db, p);
  if (relu) return;  // which needs dx
  row_norm_backward<T>(s, r.eps, p.input(masked, relu), got.mean.data(), got.rstd.data(),
                       p.dy.data(), {nullptr, got.dw.data(), got.db.data()});
  compare_sums(of + " dw alone", got.dw, dw, p);
  compare_sums(of + " db alone", got.db, db, p);
}

template <class T>
void check_batch_norm(const Channels& s, const Range& r, bool masked, bool relu) {
  const int64_t n = s.outer * s.channels * s.inner, channels = s.channels;
  Problem<T> p(n, channels, r, 7);
  Wide<T> wide(p);
  const bool* valid = masked ? p.valid.get() : nullptr;
  std::vector<Exact<T>> y(n), dx(n), dw(channels), db(channels), mean(channels), var(channels);
  const auto exact = [&](bool with_relu) -> NormInput<Exact<T>> {
    return {wide.x.data(), valid, wide.w.data(), wide.b.data(), with_relu};
  };
  naive::batch_norm_stats(s, wide.x.data(), valid, mean.data(), var.data());
  naive::batch_norm_normalize(s, r.eps, exact(false), mean.data(), var.data(), y.data());
  if (relu) off_the_kink(p, y);
  const std::vector<Exact<T>> before = y;
  wide = Wide<T>(p);
  naive::batch_norm_normalize(s, r.eps, exact(relu), mean.data(), var.data(), y.data());
  naive::batch_norm_backward<Exact<T>>(s, r.eps, true, exact(relu), mean.data(), var.data(),
                                       wide.dy.data(), {dx.data(), dw.data(), db.data()});
  Results<T> got(n, channels);
  batch_norm(s, r.eps, p.input(masked, relu), got.y.data(), got.mean.data(), got.var.data(),
             got.rstd.data());
  batch_norm_backward<T>(s, r.eps, p.input(masked, relu), got.mean.data(), got.rstd.data(),
                         p.dy.data(), {got.dx.data(), got.dw.data(), got.db.data()});
  got.mean.resize(mean.size()), got.var.resize(var.size());
  const std::string of = (s.inner == 1 ? "columns " : "runs ") + described(r, masked, relu);
  const auto channel = [&](int64_t i) { return i / s.inner % s.channels; };
  const auto itself = [](int64_t i) { return i; };
  compare(of + " y", got.y, y, channels, channel, {}, before);
  compare(of + " dx", got.dx, dx, channels, channel);
  compare_sums(of + " dw", got.dw, dw, p);
  compare_sums(of + " db", got.db, db, p);
  compare(of + " var", got.var, var, channels, itself);
  if (!relu) {  // which needs dx
    batch_norm_backward<T>(s, r.eps, p.input(masked, relu), got.mean.data(), got.rstd.data(),
                           p.dy.data(), {nullptr, got.dw.data(), got.db.data()});
    compare_sums(of + " dw alone", got.dw, dw, p);
  }

  // Evaluation by statistics that f32 holds.
  const std::vector<Exact<T>> mean64(got.mean.begin(), got.mean.end()),
      var64(got.var.begin(), got.var.end());
  if (!std::all_of(var64.begin(), var64.end(), holds<T>)) return;
  naive::batch_norm_normalize(s, r.eps, exact(relu), mean64.data(), var64.data(), y.data());
  naive::batch_norm_backward<Exact<T>>(s, r.eps, false, exact(false), mean64.data(), var64.data(),
                                       wide.dy.data(), {dx.data(), dw.data(), db.data()});
  batch_norm_rstd(channels, r.eps, got.var.data(), got.rstd.data());
  batch_norm_normalize(s, p.input(masked, relu), got.mean.data(), got.rstd.data(), got.y.data());
  batch_norm_backward_eval<T>(s, p.input(masked, false), got.mean.data(), got.rstd.data(),
                              p.dy.data(), {got.dx.data(), got.dw.data(), got.db.data()});
  compare(of + " evaluated y", got.y, y, channels, channel, {}, before);
  compare(of + " evaluated dx", got.dx, dx, channels, channel);
  compare_sums(of + " evaluated dw", got.dw, dw, p);
}

}  // namespace

using Floating = std::tuple<float, double>;

BOOST_AUTO_TEST_CASE_TEMPLATE(rows, T, Floating) {
  for (const NormRows& s : kRows)
    for (const Range& r : ranges<T>())
      for (bool masked : {false, true})
        for (bool relu : {false, true}) check_rows<T>(s, r, masked, relu);
}

// Whose sums overflow, or cancel, where the row's own do not.
BOOST_AUTO_TEST_CASE(sums_over_rows_and_channels) {
  const int64_t rows = 4, d = 4;
  const std::vector<float> x{1, 2, 3, 4, 1, 2, 3, 5, 2, 1, 4, 4, 1, 2, 5, 4};
  const std::vector<float> w(d, 1e-30f), b(d);
  std::vector<float> y(x.size()), mean(rows), rstd(rows), dy(x.size()), dx(x.size()), dw(d), db(d);
  for (size_t i = 0; i < dy.size(); ++i) dy[i] = i < 8 ? 3e38f : -3e38f;
  const NormInput<float> in{x.data(), nullptr, w.data(), b.data()};
  row_norm<float>({rows, 1, d}, 1e-5, in, y.data(), mean.data(), rstd.data());
  row_norm_backward<float>({rows, 1, d}, 1e-5, in, mean.data(), rstd.data(), dy.data(),
                           {dx.data(), dw.data(), db.data()});
  BOOST_TEST(db == std::vector<float>(d), boost::test_tools::per_element());
  std::vector<double> exact(d);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t row = i / 4;
    exact[i % 4] +=
        static_cast<double>(dy[i]) * (static_cast<double>(x[i]) - mean[row]) * rstd[row];
  }
  for (size_t j = 0; j < dw.size(); ++j)
    if (holds<float>(exact[j])) BOOST_TEST(std::abs(dw[j] - exact[j]) < 1e33, dw[j]);
  // Inference: sum dy is 0, and each product below f32's least.
  const std::vector<float> small{1e-25f, -1e-25f, 3e-25f, -3e-25f};
  const std::vector<float> signs{1e-25f, -1e-25f, 1e-25f, -1e-25f};
  const float zero = 0, var = 1e-38f;
  float r = 0, weight = 0, bias = 0;
  for (const Channels& s : {Channels{4, 1, 1}, Channels{1, 1, 4}}) {
    batch_norm_rstd(1, 1e-38, &var, &r);
    batch_norm_backward_eval<float>(s, {small.data()}, &zero, &r, signs.data(),
                                    {nullptr, &weight, &bias});
    BOOST_TEST((bias == 0 && std::abs(weight / (8e-50 / std::sqrt(2e-38)) - 1) < 1e-5), weight);
  }
}

// Where f64's own rounding of the mean would be all there is to see.
BOOST_AUTO_TEST_CASE(equal_numbers_are_at_their_mean) {
  const int64_t n = 37;
  for (float value : {0.f, 1e-45f, 1e-40f, 0.1f, -7e7f, 1e20f, 3e38f, -3.4e38f}) {
    const std::vector<float> x(n, value), dy = Problem<float>(n, n, {1, 0}, 3).dy;
    std::vector<float> y(n, 1), dx(n), dw(n), db(n);
    float mean = 1, var = 1, rstd = 0;
    row_norm<float>({1, 1, n}, 1e-5, {x.data()}, y.data(), &mean, &rstd);
    BOOST_TEST(y == std::vector<float>(n), boost::test_tools::per_element());
    row_norm_backward<float>({1, 1, n}, 1e-5, {x.data()}, &mean, &rstd, dy.data(),
                             {dx.data(), dw.data(), db.data()});
    BOOST_TEST(dw == std::vector<float>(n), boost::test_tools::per_element());
    BOOST_TEST((mean == value && rstd == static_cast<float>(1 / std::sqrt(1e-5))));
    batch_norm<float>({1, 1, n}, 1e-5, {x.data()}, y.data(), &mean, &var, &rstd);
    BOOST_TEST(y == std::vector<float>(n), boost::test_tools::per_element());
    BOOST_TEST((mean == value && var == 0));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(channels, T, Floating) {
  for (const Channels& s : {Channels{3, 2, 19}, Channels{37, 5, 1}, Channels{41, 1, 1},
                            Channels{23, 2, 3}, Channels{7, 5, 1}, Channels{2, 3, 4}})
    for (const Range& r : ranges<T>())
      for (bool masked : {false, true})
        for (bool relu : {false, true}) check_batch_norm<T>(s, r, masked, relu);
}

namespace {

/// dy of a group whose gradient is `share` of its terms: random numbers, and 1 and x, along which
/// there is none.
struct Cancelling {
  double along_one, along_x, share;
};
const Cancelling kCancelling[] = {{0, 0, 1},     {1, 0, 0},      {0, 1, 0},     {1, 1, 0},
                                  {1, 0, 0.3},   {0, 1, 0.3},    {1, 0, 1e-2},  {0, 1, 1e-2},
                                  {1, -1, 1e-2}, {-1, 1, 1e-4},  {0.3, 1, 0.1}, {1, 0.3, 0.1},
                                  {1e3, 0, 1},   {1e-3, 1e3, 1}, {0, 10, 1}};

/// x of that mean, in spreads, with one value that is apart by `apart`; dy by `kind`; w about 1 if
/// it is there.
struct Group {
  int64_t n;
  double mean, apart;
  Cancelling kind;
  int weights;  // none, 1, or random

  /// What rounding to f64 makes of the mean and of the sums.
  long double kept() const { return 0x1p-44L + 0x1p-50L * std::abs(mean); }
};

/// `groups` groups of n values: x, and g = w dy along 1 and x.
struct Groups {
  Groups(const Group& of, int64_t groups, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    std::vector<double> v(static_cast<size_t>(of.n));
    for (int64_t k = 0; k < groups; ++k) {
      for (double& value : v) value = normal(random);
      v[0] += of.apart;
      for (double value : v) {
        x.push_back(static_cast<float>(value + of.mean));
        const Cancelling& c = of.kind;
        g.push_back(c.along_one + c.along_x * (static_cast<double>(x.back()) - of.mean) +
                    c.share * normal(random));
      }
    }
  }
  std::vector<float> x;
  std::vector<double> g;
};

/// dx is right to 2^-20 of its group's largest, or to what f64 keeps of its terms (`kept`); where
/// these are up to `far` times as large, to 2^-20 of them.
template <class GroupOf>
void compare_cancelling(const std::string& what, const std::vector<float>& got,
                        const std::vector<long double>& expected,
                        const std::vector<long double>& terms, long double kept, long double far,
                        int64_t groups, GroupOf group) {
  std::vector<long double> largest(static_cast<size_t>(groups)), most = largest, error = largest;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto k = static_cast<size_t>(group(static_cast<int64_t>(i)));
    const long double off = std::abs(got[i] - expected[i]);
    largest[k] = std::max(largest[k], std::abs(expected[i]));
    most[k] = std::max(most[k], std::abs(terms[i]));
    error[k] = off <= error[k] ? error[k] : off;
  }
  for (size_t k = 0; k < error.size(); ++k)
    if (!(error[k] <= 0x1p-20L * largest[k] + kept * most[k]) &&
        !(largest[k] >= most[k] / far && error[k] <= 0x1p-20L * most[k]))
      BOOST_ERROR(what << ": off by " << error[k] / largest[k] * 0x1p20L << " 2^-20 of "
                       << largest[k] << ", terms " << most[k]);
}

std::string described(const Group& g) {
  std::ostringstream text;
  text << g.n << " values, mean " << g.mean << ", apart " << g.apart << ", dy " << g.kind.along_one
       << " + " << g.kind.along_x << " x + " << g.kind.share << ", weights " << g.weights;
  return text.str();
}

void check_cancelling_rows(const Group& of, bool centred) {
  const int64_t rows = 6, n = rows * of.n;
  const NormRows s{rows, 1, of.n, 1, centred};
  const Groups made(of, rows, 11);
  const std::vector<float> b(static_cast<size_t>(of.n));
  std::vector<float> w(static_cast<size_t>(of.n), 1), dy(made.g.size());
  for (size_t j = 0; j < w.size() && of.weights == 2; ++j) w[j] = 1 + 0.07F * static_cast<float>(j);
  for (size_t i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>(made.g[i] / w[i % w.size()]);
  const NormInput<float> in{made.x.data(), nullptr, of.weights ? w.data() : nullptr, b.data()};
  std::vector<float> y(dy.size()), dx = y, mean(rows), rstd(rows), dw(w.size()), db = dw;
  row_norm<float>(s, 1e-5, in, y.data(), mean.data(), rstd.data());
  row_norm_backward<float>(s, 1e-5, in, mean.data(), rstd.data(), dy.data(),
                           {dx.data(), dw.data(), db.data()});
  const std::vector<long double> x(made.x.begin(), made.x.end()), weight(w.begin(), w.end()),
      bias(w.size()), up(dy.begin(), dy.end());
  std::vector<long double> y64(x.size()), dx64 = y64, dw64 = weight, db64 = weight, terms = y64;
  const NormInput<long double> exact{x.data(), nullptr, weight.data(), bias.data()};
  naive::row_norm(s, 1e-5, exact, y64.data());
  naive::row_norm_backward<long double>(s, 1e-5, exact, up.data(),
                                        {dx64.data(), dw64.data(), db64.data()});
  for (int64_t i = 0; i < n; ++i)
    terms[i] = up[i] * weight[i % of.n] * static_cast<long double>(rstd[i / of.n]);
  const auto row = [&](int64_t i) { return i / of.n; };
  const std::string what = (centred ? "rows of " : "rows about 0 of ") + described(of);
  compare_cancelling(what + ", y", y, y64, std::vector<long double>(x.size()), 0, 1, rows, row);
  compare_cancelling(what, dx, dx64, terms, of.kept(), of.n <= kFewValues ? 5 : 128, rows, row);
}

void check_cancelling_channels(const Group& of, bool columns) {
  const int64_t channels = 6, n = channels * of.n;
  const Channels s = columns ? Channels{of.n, channels, 1} : Channels{1, channels, of.n};
  const Groups made(of, channels, 13);
  const auto place = [&](int64_t c, int64_t j) {
    return columns ? j * channels + c : c * of.n + j;
  };
  std::vector<float> w(channels, 1), b(channels, 0.5F), x(made.x.size()), dy = x;
  for (int64_t c = 0; c < channels && of.weights == 2; ++c) w[c] = 1 + 0.3F * static_cast<float>(c);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t j = 0; j < of.n; ++j) {
      x[place(c, j)] = made.x[c * of.n + j];
      dy[place(c, j)] = static_cast<float>(made.g[c * of.n + j]);
    }
  const NormInput<float> in{x.data(), nullptr, of.weights ? w.data() : nullptr, b.data()};
  std::vector<float> y(x.size()), dx = y, mean(channels), var = mean, rstd = mean, dw = w, db = w;
  batch_norm<float>(s, 1e-5, in, y.data(), mean.data(), var.data(), rstd.data());
  batch_norm_backward<float>(s, 1e-5, in, mean.data(), rstd.data(), dy.data(),
                             {dx.data(), dw.data(), db.data()});
  const std::vector<long double> x64(x.begin(), x.end()), weight(w.begin(), w.end()),
      bias(b.begin(), b.end()), up(dy.begin(), dy.end());
  std::vector<long double> y64(x.size()), dx64 = y64, dw64 = weight, db64 = weight, terms = y64,
                                          mean64 = weight, var64 = weight;
  const NormInput<long double> exact{x64.data(), nullptr, weight.data(), bias.data()};
  naive::batch_norm_stats(s, x64.data(), nullptr, mean64.data(), var64.data());
  naive::batch_norm_normalize(s, 1e-5, exact, mean64.data(), var64.data(), y64.data());
  naive::batch_norm_backward<long double>(s, 1e-5, true, exact, mean64.data(), var64.data(),
                                          up.data(), {dx64.data(), dw64.data(), db64.data()});
  const auto channel = [&](int64_t i) { return columns ? i % channels : i / of.n; };
  std::vector<long double> most_xhat(channels, 1);
  for (int64_t i = 0; i < n && of.n > kFewValues; ++i) {
    long double& most = most_xhat[channel(i)];
    most = std::max(most, std::abs(x64[i] - mean64[channel(i)]) / std::sqrt(var64[channel(i)]));
  }
  for (int64_t i = 0; i < n; ++i)
    terms[i] = up[i] * weight[channel(i)] * static_cast<long double>(rstd[channel(i)]) *
               most_xhat[channel(i)];
  const std::string what = (columns ? "columns of " : "runs of ") + described(of);
  compare_cancelling(what + ", y", y, y64, std::vector<long double>(x.size()), 0, 1, channels,
                     channel);
  compare_cancelling(what, dx, dx64, terms, of.kept(), of.n <= kFewValues ? 5 : HUGE_VALL, channels,
                     channel);
}

}  // namespace

// dx = rstd (g - mean(g) - xhat mean(g xhat)) of terms that cancel, and means that are far.
BOOST_AUTO_TEST_CASE(cancelling_gradients_and_far_means) {
  for (int64_t n : {1, 2, 3, 4, 8, 37, 500})
    for (double mean : {0.0, 3.0, 7.0, 10.0, 1e3, -1e6})
      for (double apart : {0.0, 1e3})
        for (const Cancelling& kind : kCancelling)
          for (int weights : {0, 1, 2}) {
            const Group group{n, mean, apart, kind, weights};
            check_cancelling_rows(group, true);
            check_cancelling_rows(group, false);
            if (n == 1) continue;
            check_cancelling_channels(group, false);
            check_cancelling_channels(group, true);
          }
}

BOOST_AUTO_TEST_CASE(no_rows_of_constants_that_f32_does_not_carry) {
  const std::vector<float> mean(3, 1e35F), rstd(3, 1e30F), w(3, 1e30F), b(3, 0.5F);
  std::vector<float> dw(3, 7), db(3, 7);
  const NormInput<float> in{nullptr, nullptr, w.data(), b.data()};
  for (const Channels s : {Channels{0, 3, 1}, Channels{1, 3, 0}}) {
    batch_norm_normalize<float>(s, in, mean.data(), rstd.data(), nullptr);
    batch_norm_backward_eval<float>(s, in, mean.data(), rstd.data(), nullptr,
                                    {nullptr, dw.data(), db.data()});
    for (const std::vector<float>& sums : {dw, db})
      for (float sum : sums) BOOST_TEST(sum == 0);
  }
}

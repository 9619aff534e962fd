#define BOOST_TEST_MODULE norm_range
#include <gradus/kernels/norm/naive.h>
#include <gradus/kernels/norm/norm.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

using namespace gradus;
using namespace gradus::kernels;

// f32's norms over its whole range against the definition in f64: what f64 and f32 can hold is off
// by at most 2^-20 of the largest of its row or channel, of sizes that f32's normal numbers have.
namespace {

constexpr double kBound = 0x1p-20;
constexpr double kSmall = 0x1p-100;  // below it f32 may have lost the bits to denormal numbers

/// What x, dy and w are multiplied by, what is added to x, and eps.
struct Range {
  double scale, mean, dy_scale = 1, w_scale = 1, eps = 1e-5;
};

std::vector<Range> ranges() {
  std::vector<Range> all{{1e38, 3e38}, {1, 8e6}, {1e30, -1e30}};
  for (double exponent = -36; exponent <= 38; exponent += 4)
    for (double mean : {0.0, 3.0, 1e3})
      for (double dy : {1.0, 1e-30, 1e30})
        for (double eps : {1e-5, 1e-12}) {
          const double scale = std::pow(10, exponent);
          all.push_back({scale, mean * scale, dy, 1, eps});
        }
  for (double w : {1e-30, 1e-15, 1e15, 1e30})
    for (double scale : {1e-20, 1.0, 1e20}) all.push_back({scale, scale, 1, w});
  for (double exponent = -2; exponent <= 7; ++exponent) {
    all.push_back({1, std::pow(10, exponent)});
    all.push_back({1e-6, std::pow(10, exponent - 6)});  // eps is larger than the variance
  }
  return all;
}

float fitting(double v) { return static_cast<float>(std::clamp<double>(v, -3.4e38, 3.4e38)); }

struct Problem {
  Problem(int64_t n, int64_t weights, const Range& r, unsigned seed)
      : x(n), dy(n), w(weights), b(weights), valid(new bool[static_cast<size_t>(n)]) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    for (float& v : x) v = fitting(normal(random) * r.scale + r.mean);
    for (float& v : dy) v = fitting(normal(random) * r.dy_scale);
    for (float& v : w) v = fitting((normal(random) + 2) * r.w_scale);
    for (float& v : b) v = fitting(normal(random) * 0.1 * r.w_scale);
    for (int64_t i = 0; i < n; ++i) valid[static_cast<size_t>(i)] = random() % 4 != 0;
  }
  std::vector<float> x, dy, w, b;
  std::unique_ptr<bool[]> valid;

  NormInput<float> input(bool masked, bool relu) const {
    return {x.data(), masked ? valid.get() : nullptr, w.data(), b.data(), relu};
  }
};

/// The same numbers in f64.
struct Wide {
  explicit Wide(const Problem& p)
      : x(p.x.begin(), p.x.end()),
        dy(p.dy.begin(), p.dy.end()),
        w(p.w.begin(), p.w.end()),
        b(p.b.begin(), p.b.end()) {}
  std::vector<double> x, dy, w, b;
};

struct Results {
  Results(int64_t n, int64_t weights)
      : y(n), dx(n), dw(weights), db(weights), mean(n), var(n), rstd(n) {}
  std::vector<float> y, dx, dw, db, mean, var, rstd;
};

bool holds(double v) { return std::isfinite(v) && std::abs(v) <= 3.4e38; }

/// group(i): which row or channel element i is of.
template <class Group>
void compare(const std::string& what, const std::vector<float>& got,
             const std::vector<double>& expected, int64_t groups, Group group) {
  std::vector<double> largest(static_cast<size_t>(groups)), error(largest), at(largest);
  std::vector<char> fits(static_cast<size_t>(groups), 1);
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto g = static_cast<size_t>(group(static_cast<int64_t>(i)));
    const double off = std::abs(static_cast<double>(got[i]) - expected[i]);
    fits[g] = fits[g] && holds(expected[i]);
    largest[g] = std::max(largest[g], std::abs(expected[i]));
    error[g] = off <= error[g] ? error[g] : off;  // NaN counts
  }
  for (size_t g = 0; g < fits.size(); ++g)
    if (fits[g] && !(error[g] <= kBound * std::max(largest[g], kSmall)))
      BOOST_ERROR(what << ": group " << g << " is off by " << error[g] << " of " << largest[g]);
}

std::string described(const Range& r, bool masked, bool relu) {
  return "x " + std::to_string(std::log10(r.scale)) + " mean 1e" +
         std::to_string(std::log10(std::abs(r.mean))) + " dy 1e" +
         std::to_string(std::log10(r.dy_scale)) + " w 1e" + std::to_string(std::log10(r.w_scale)) +
         " eps " + std::to_string(r.eps) + (masked ? " masked" : "") + (relu ? " relu" : "");
}

/// The relu's mask is checked where the definition is not within rounding of 0: elsewhere dy is 0.
void off_the_kink(Problem& p, const std::vector<double>& y) {
  double largest = 0;
  for (double v : y) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < y.size(); ++i)
    if (std::abs(y[i]) <= largest * 1e-5) p.dy[i] = 0;
}

void check_layer_norm(const Range& r, bool masked, bool relu) {
  const int64_t rows = 3, d = 37, n = rows * d;
  Problem p(n, d, r, 5);
  Wide wide(p);
  const bool* valid = masked ? p.valid.get() : nullptr;
  std::vector<double> y(n), dx(n), dw(d), db(d);
  const NormInput<double> linear{wide.x.data(), valid, wide.w.data(), wide.b.data()};
  naive::layer_norm(rows, d, r.eps, linear, y.data());
  if (relu) off_the_kink(p, y);
  wide = Wide(p);
  NormInput<double> exact = linear;
  exact.x = wide.x.data(), exact.w = wide.w.data(), exact.b = wide.b.data(), exact.relu = relu;
  naive::layer_norm(rows, d, r.eps, exact, y.data());
  naive::layer_norm_backward<double>(rows, d, r.eps, exact, wide.dy.data(),
                                     {dx.data(), dw.data(), db.data()});
  Results got(n, d);
  layer_norm(rows, d, r.eps, p.input(masked, relu), got.y.data(), got.mean.data(), got.rstd.data());
  layer_norm_backward<float>(rows, d, r.eps, p.input(masked, relu), got.mean.data(),
                             got.rstd.data(), p.dy.data(),
                             {got.dx.data(), got.dw.data(), got.db.data()});
  const std::string of = "layer_norm " + described(r, masked, relu);
  const auto row = [&](int64_t i) { return i / d; };
  compare(of + " y", got.y, y, rows, row);
  compare(of + " dx", got.dx, dx, rows, row);
  compare(of + " dw", got.dw, dw, 1, [](int64_t) { return 0; });
  compare(of + " db", got.db, db, 1, [](int64_t) { return 0; });
}

void check_batch_norm(const Channels& s, const Range& r, bool masked, bool relu) {
  const int64_t n = s.outer * s.channels * s.inner, channels = s.channels;
  Problem p(n, channels, r, 7);
  Wide wide(p);
  const bool* valid = masked ? p.valid.get() : nullptr;
  std::vector<double> y(n), dx(n), dw(channels), db(channels), mean(channels), var(channels);
  const auto exact = [&](bool with_relu) -> NormInput<double> {
    return {wide.x.data(), valid, wide.w.data(), wide.b.data(), with_relu};
  };
  naive::batch_norm_stats(s, wide.x.data(), valid, mean.data(), var.data());
  naive::batch_norm_normalize(s, r.eps, exact(false), mean.data(), var.data(), y.data());
  if (relu) off_the_kink(p, y);
  wide = Wide(p);
  naive::batch_norm_normalize(s, r.eps, exact(relu), mean.data(), var.data(), y.data());
  naive::batch_norm_backward<double>(s, r.eps, true, exact(relu), mean.data(), var.data(),
                                     wide.dy.data(), {dx.data(), dw.data(), db.data()});
  Results got(n, channels);
  batch_norm(s, r.eps, p.input(masked, relu), got.y.data(), got.mean.data(), got.var.data(),
             got.rstd.data());
  batch_norm_backward<float>(s, r.eps, p.input(masked, relu), got.mean.data(), got.rstd.data(),
                             p.dy.data(), {got.dx.data(), got.dw.data(), got.db.data()});
  got.mean.resize(mean.size()), got.var.resize(var.size());
  const std::string of = (s.inner == 1 ? "columns " : "runs ") + described(r, masked, relu);
  const auto channel = [&](int64_t i) { return i / s.inner % s.channels; };
  const auto itself = [](int64_t i) { return i; };
  compare(of + " y", got.y, y, channels, channel);
  compare(of + " dx", got.dx, dx, channels, channel);
  compare(of + " dw", got.dw, dw, 1, [](int64_t) { return 0; });
  compare(of + " db", got.db, db, 1, [](int64_t) { return 0; });
  compare(of + " var", got.var, var, channels, itself);

  // Evaluation by statistics that f32 holds.
  const std::vector<double> mean64(got.mean.begin(), got.mean.end()),
      var64(got.var.begin(), got.var.end());
  if (!std::all_of(var64.begin(), var64.end(), holds)) return;
  naive::batch_norm_normalize(s, r.eps, exact(relu), mean64.data(), var64.data(), y.data());
  naive::batch_norm_backward<double>(s, r.eps, false, exact(false), mean64.data(), var64.data(),
                                     wide.dy.data(), {dx.data(), dw.data(), db.data()});
  batch_norm_rstd(channels, r.eps, got.var.data(), got.rstd.data());
  batch_norm_normalize(s, p.input(masked, relu), got.mean.data(), got.rstd.data(), got.y.data());
  batch_norm_backward_eval<float>(s, p.input(masked, false), got.mean.data(), got.rstd.data(),
                                  p.dy.data(), {got.dx.data(), got.dw.data(), got.db.data()});
  compare(of + " evaluated y", got.y, y, channels, channel);
  compare(of + " evaluated dx", got.dx, dx, channels, channel);
  compare(of + " evaluated dw", got.dw, dw, 1, [](int64_t) { return 0; });
}

}  // namespace

BOOST_AUTO_TEST_CASE(rows) {
  for (const Range& r : ranges())
    for (bool masked : {false, true})
      for (bool relu : {false, true}) check_layer_norm(r, masked, relu);
}

// Where f64's own rounding of the mean would be all there is to see.
BOOST_AUTO_TEST_CASE(equal_numbers_are_at_their_mean) {
  const int64_t n = 37;
  for (float value : {0.f, 1e-45f, 1e-40f, 0.1f, -7e7f, 1e20f, 3e38f, -3.4e38f}) {
    const std::vector<float> x(n, value), dy = Problem(n, n, {1, 0}, 3).dy;
    std::vector<float> y(n, 1), dx(n), dw(n), db(n);
    float mean = 1, var = 1, rstd = 0;
    layer_norm<float>(1, n, 1e-5, {x.data()}, y.data(), &mean, &rstd);
    BOOST_TEST(y == std::vector<float>(n), boost::test_tools::per_element());
    layer_norm_backward<float>(1, n, 1e-5, {x.data()}, &mean, &rstd, dy.data(),
                               {dx.data(), dw.data(), db.data()});
    BOOST_TEST(dw == std::vector<float>(n), boost::test_tools::per_element());
    BOOST_TEST((mean == value && rstd == static_cast<float>(1 / std::sqrt(1e-5))));
    batch_norm<float>({1, 1, n}, 1e-5, {x.data()}, y.data(), &mean, &var, &rstd);
    BOOST_TEST(y == std::vector<float>(n), boost::test_tools::per_element());
    BOOST_TEST((mean == value && var == 0));
  }
}

BOOST_AUTO_TEST_CASE(channels) {
  for (const Channels& s : {Channels{3, 2, 19}, Channels{37, 5, 1}, Channels{41, 1, 1}})
    for (const Range& r : ranges())
      for (bool masked : {false, true})
        for (bool relu : {false, true}) check_batch_norm(s, r, masked, relu);
}

#define BOOST_TEST_MODULE reduce_kernels
#include <gradus/kernels/reduce/naive.h>
#include <gradus/kernels/reduce/reduce.h>
#include <gradus/kernels/reduce/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/tensor/runtime.h>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

using namespace gradus;
using namespace gradus::kernels;
using Scalars = boost::mpl::list<float, double>;

namespace {

struct Case {
  int64_t outer, n, inner;
};

const Case kCases[] = {{1, 1, 1},     {3, 1, 5},    {5, 2, 1},     {7, 10, 1},    {4, 17, 1},
                       {3, 130, 1},   {2, 1023, 1}, {3, 1025, 1},  {1, 3001, 1},  {1, 70001, 1},
                       {3, 65537, 1}, {1, 3, 7},    {2, 4, 65},    {3, 66, 3},    {1, 257, 10},
                       {1, 1001, 3},  {2, 331, 63}, {1, 130, 513}, {1, 9001, 10}, {2, 700, 200},
                       {1, 20001, 2}};

template <class T>
std::vector<T> random(int64_t n, double mean, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> x(static_cast<size_t>(n));
  for (T& v : x) v = static_cast<T>(mean + uniform(generator));
  return x;
}

template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}

template <class Visit>
void for_each_level(Visit visit) {
  for (Isa isa : kLevels)
    if (supports(isa)) visit(isa);
}

/// Largest |y - exact| / sum |x| over the results, in units of epsilon.
template <class T>
double sum_error(const Case& s, const std::vector<T>& x, const std::vector<T>& y) {
  double worst = 0;
  for (int64_t k = 0; k < s.outer * s.inner; ++k) {
    long double exact = 0, size = 0;
    for (int64_t i = 0; i < s.n; ++i) {
      const auto at = static_cast<size_t>((k / s.inner * s.n + i) * s.inner + k % s.inner);
      exact += x[at];
      size += std::abs(x[at]);
    }
    const double error = static_cast<double>(std::abs(y[static_cast<size_t>(k)] - exact) / size);
    worst = std::max(worst, error / std::numeric_limits<T>::epsilon());
  }
  return worst;
}

template <class T>
std::vector<T> sums(const Case& s, const std::vector<T>& x) {
  std::vector<T> y(static_cast<size_t>(s.outer * s.inner));
  sum(s.outer, s.n, s.inner, x.data(), y.data());
  return y;
}

/// Values and places, with NaN comparing equal.
template <class T>
struct Found {
  explicit Found(const Case& s)
      : values(static_cast<size_t>(s.outer * s.inner)), index(values.size()) {}
  bool operator==(const Found& other) const {
    for (size_t i = 0; i < values.size(); ++i)
      if (!(values[i] == other.values[i] || (std::isnan(values[i]) && std::isnan(other.values[i]))))
        return false;
    return index == other.index;
  }
  std::vector<T> values;
  std::vector<int64_t> index;
};

template <class T>
Found<T> largest(const Case& s, const std::vector<T>& x) {
  Found<T> found(s);
  max(s.outer, s.n, s.inner, x.data(), found.values.data(), found.index.data());
  return found;
}

/// Few different values, so that many are equal, and now and then NaN or an infinity.
template <class T>
std::vector<T> ties(int64_t n, bool nan, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<T> x(static_cast<size_t>(n));
  for (T& v : x) {
    const auto draw = generator() % 997;
    v = static_cast<T>(static_cast<int>(draw % 13) - 6);
    if (draw == 7) v = -std::numeric_limits<T>::infinity();
    if (nan && draw % 211 == 5) v = std::numeric_limits<T>::quiet_NaN();
  }
  return x;
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(sums_are_within_the_stated_bound, T, Scalars) {
  set_threads(2);
  for (const Case& s : kCases) {
    for (double mean : {0.0, 1e4}) {
      const std::vector<T> x = random<T>(s.outer * s.n * s.inner, mean, 1);
      BOOST_TEST(sum_error(s, x, sums(s, x)) <= 76, s.outer << "x" << s.n << "x" << s.inner);
    }
  }
}

BOOST_AUTO_TEST_CASE(f32_sums_of_many_equal_signs_stay_accurate) {
  const Case rows{1, 3000000, 1}, columns{1, 1000000, 3};
  const std::vector<float> x = random<float>(3000000, 1e4, 2);
  BOOST_TEST(sum_error(rows, x, sums(rows, x)) <= 2);
  BOOST_TEST(sum_error(columns, x, sums(columns, x)) <= 2);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(sums_at_every_level, T, Scalars) {
  for_each_level([](Isa isa) {
    const ReduceKernels<T>& table = table_for<ReduceKernels<T>>(isa);
    for (const Case& s : kCases) {
      if (s.outer * s.n * s.inner > 20000) continue;
      const std::vector<T> x = random<T>(s.outer * s.n * s.inner, 0.1, 3);
      std::vector<T> y(static_cast<size_t>(s.outer * s.inner));
      for (int64_t o = 0; o < s.outer; ++o) {
        const T* from = x.data() + o * s.n * s.inner;
        std::vector<double> totals(static_cast<size_t>(s.inner), 0.0);
        if (s.inner == 1)
          totals[0] = table.sum(s.n, from);
        else
          table.sum_columns(s.n, s.inner, from, s.inner, totals.data());
        for (int64_t j = 0; j < s.inner; ++j)
          y[static_cast<size_t>(o * s.inner + j)] = static_cast<T>(totals[static_cast<size_t>(j)]);
      }
      BOOST_TEST(sum_error(s, x, y) <= 76, name(isa) << " " << s.n << "x" << s.inner);
    }
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_naive_sum_is_the_definition, T, Scalars) {
  const Case s{3, 66, 5};
  const std::vector<T> x = random<T>(3 * 66 * 5, 0, 4);
  std::vector<T> y(15);
  naive::sum(s.outer, s.n, s.inner, x.data(), y.data());
  BOOST_TEST(sum_error(s, x, y) <= 66);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(extrema_are_their_definition, T, Scalars) {
  set_threads(2);
  for (const Case& s : kCases) {
    for (bool nan : {false, true}) {
      const std::vector<T> x = ties<T>(s.outer * s.n * s.inner, nan, 5);
      Found<T> expected(s), smallest(s);
      naive::max(s.outer, s.n, s.inner, x.data(), expected.values.data(), expected.index.data());
      BOOST_TEST((largest(s, x) == expected), s.outer << "x" << s.n << "x" << s.inner);

      std::vector<T> values(expected.values.size());
      max(s.outer, s.n, s.inner, x.data(), values.data(), nullptr);
      for (size_t i = 0; i < values.size(); ++i)
        BOOST_TEST((values[i] == expected.values[i] || std::isnan(expected.values[i])));

      std::vector<T> negative = x;
      for (T& v : negative) v = -v;
      min(s.outer, s.n, s.inner, negative.data(), smallest.values.data(), smallest.index.data());
      Found<T> defined(s);
      naive::min(s.outer, s.n, s.inner, negative.data(), defined.values.data(),
                 defined.index.data());
      BOOST_TEST((smallest == defined));
      for (T& v : smallest.values) v = -v;
      BOOST_TEST((smallest == expected));
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(extrema_at_every_level, T, Scalars) {
  for_each_level([](Isa isa) {
    const ReduceKernels<T>& table = table_for<ReduceKernels<T>>(isa);
    for (int64_t n = 1; n < 140; ++n) {
      for (int64_t place : {int64_t{0}, n / 3, n - 1}) {
        for (T special : {T(9), std::numeric_limits<T>::quiet_NaN()}) {
          std::vector<T> x = ties<T>(n, false, static_cast<unsigned>(n));
          x[static_cast<size_t>(place)] = special;
          const Extremum<T> found = table.max(n, x.data(), true);
          BOOST_TEST(found.index == place);
          BOOST_TEST((found.value == special || std::isnan(special)));
          for (T& v : x) v = -v;
          BOOST_TEST(table.min(n, x.data(), true).index == place);
        }
      }
    }
    const int64_t rows = 23, columns = 37;
    const Case s{1, rows, columns};
    const std::vector<T> x = ties<T>(rows * columns, true, 6);
    Found<T> found(s), expected(s);
    table.max_columns(rows, columns, x.data(), columns, found.values.data(), found.index.data());
    naive::max(1, rows, columns, x.data(), expected.values.data(), expected.index.data());
    BOOST_TEST((found == expected));
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(bitwise_the_same_on_any_number_of_threads, T, Scalars) {
  for (const Case& s : {Case{1, 300001, 1}, Case{3, 70001, 1}, Case{1001, 301, 1},
                        Case{1, 40001, 10}, Case{5, 301, 401}, Case{1, 301, 3001}}) {
    const std::vector<T> x = random<T>(s.outer * s.n * s.inner, 0.3, 7);
    set_threads(1);
    const std::vector<T> y = sums(s, x);
    const Found<T> found = largest(s, x);
    for (int count : {2, 3}) {
      set_threads(count);
      BOOST_TEST(same_bits(sums(s, x), y));
      BOOST_TEST((largest(s, x) == found));
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(nothing_to_add_is_zero, T, Scalars) {
  std::vector<T> y(6, T(7));
  sum<T>(2, 0, 3, nullptr, y.data());
  BOOST_TEST(y == std::vector<T>(6, T(0)), boost::test_tools::per_element());
  y.assign(6, T(7));
  sum<T>(6, 0, 1, nullptr, y.data());
  BOOST_TEST(y == std::vector<T>(6, T(0)), boost::test_tools::per_element());
  sum<T>(3, 5, 0, nullptr, nullptr);
  sum<T>(0, 5, 1, nullptr, nullptr);
  max<T>(3, 5, 0, nullptr, nullptr, nullptr);
}

// Each of at least 8 sums takes at most 2^13 of a piece's elements, and each addition rounds once.
BOOST_AUTO_TEST_CASE_TEMPLATE(sums_of_squares, T, Scalars) {
  constexpr double bound = 0x1p13 * 0x1p-53;
  for (int64_t n : {0, 1, 7, 31, 32, 100, 1001, 300001}) {
    const std::vector<T> x = random<T>(n, 0, 9);
    std::vector<long double> exact(x.begin(), x.end());
    const auto expected = static_cast<double>(naive::sum_of_squares(n, exact.data()));
    set_threads(1);
    const double one = sum_of_squares(n, x.data());
    BOOST_TEST(std::abs(one - expected) <= bound * expected);
    for (int count : {2, 3}) {
      set_threads(count);
      BOOST_TEST(sum_of_squares(n, x.data()) == one);
    }
    for (Isa isa : kLevels) {
      if (!supports(isa) || n > 70000) continue;
      const double sum = table_for<ReduceKernels<T>>(isa).sum_of_squares(n, x.data());
      BOOST_TEST(std::abs(sum - expected) <= bound * expected);
    }
  }
  const std::vector<T> large(100, T(1e30));  // whose squares f32 does not hold
  BOOST_TEST(std::abs(sum_of_squares<T>(100, large.data()) / 1e62 - 1) < 1e-6);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(all_finite_is_its_definition, T, Scalars) {
  for (int64_t n : {0, 1, 7, 1000}) {
    std::vector<T> x = random<T>(n, 0, 8);
    BOOST_TEST(all_finite(n, x.data()));
    BOOST_TEST(naive::all_finite(n, x.data()));
    for (T bad : {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(),
                  std::numeric_limits<T>::quiet_NaN()})
      for (T& v : x) {
        const T before = std::exchange(v, bad);
        BOOST_TEST(!all_finite(n, x.data()));
        BOOST_TEST(!naive::all_finite(n, x.data()));
        v = before;
      }
    for (T& v : x) v = std::numeric_limits<T>::max();
    BOOST_TEST(all_finite(n, x.data()));
  }
}

// Modulo 2^64, by the low bits of 128.
BOOST_AUTO_TEST_CASE(integers_are_their_definition) {
  __extension__ typedef unsigned __int128 Exact;
  for (const Case& s : kCases) {
    std::mt19937_64 generator(5);
    std::vector<int64_t> x(static_cast<size_t>(s.outer * s.n * s.inner));
    for (int64_t& v : x) v = static_cast<int64_t>(generator() >> generator() % 64);
    const auto size = static_cast<size_t>(s.outer * s.inner);
    std::vector<int64_t> y(size), index(size), expected(size), places(size);
    const auto fold = [&](Exact first, auto op) {
      for (size_t k = 0; k < size; ++k) {
        Exact total = first;
        const auto column = static_cast<int64_t>(k);
        for (int64_t i = 0; i < s.n; ++i)
          total = op(total, static_cast<Exact>(x[static_cast<size_t>(
                                (column / s.inner * s.n + i) * s.inner + column % s.inner)]));
        expected[k] = static_cast<int64_t>(static_cast<uint64_t>(total));
      }
    };
    for (int threads : {1, 2}) {
      set_threads(threads);
      fold(0, [](Exact a, Exact b) { return a + b; });
      sum(s.outer, s.n, s.inner, x.data(), y.data());
      BOOST_TEST((y == expected));
      fold(1, [](Exact a, Exact b) { return a * b; });
      product_of_integers(s.outer, s.n, s.inner, x.data(), y.data());
      BOOST_TEST((y == expected));
      for (int64_t& v : x) v %= 7;
      naive::max(s.outer, s.n, s.inner, x.data(), expected.data(), places.data());
      max(s.outer, s.n, s.inner, x.data(), y.data(), index.data());
      BOOST_TEST((y == expected && index == places));
      naive::min(s.outer, s.n, s.inner, x.data(), expected.data(), places.data());
      min(s.outer, s.n, s.inner, x.data(), y.data(), index.data());
      BOOST_TEST((y == expected && index == places));
      min(s.outer, s.n, s.inner, x.data(), y.data(), nullptr);
      BOOST_TEST((y == expected));
    }
  }
}

// f32 is within one rounding of f64's sums.
BOOST_AUTO_TEST_CASE(scans_are_their_definition) {
  for (const Case& s : kCases)
    for (bool reverse : {false, true}) {
      const int64_t n = s.outer * s.n * s.inner;
      const auto x = random<float>(n, 0.3, 4);
      const std::vector<double> wide(x.begin(), x.end());
      std::vector<int64_t> integers(x.size());
      for (size_t i = 0; i < x.size(); ++i) integers[i] = static_cast<int64_t>(x[i] * 1e6f);
      std::vector<float> y(x.size());
      std::vector<double> y_wide(x.size()), expected(x.size());
      std::vector<int64_t> y_integers(x.size()), expected_integers(x.size());
      for (int threads : {1, 2}) {
        set_threads(threads);
        cumsum(s.outer, s.n, s.inner, reverse, x.data(), y.data());
        cumsum(s.outer, s.n, s.inner, reverse, wide.data(), y_wide.data());
        cumsum(s.outer, s.n, s.inner, reverse, integers.data(), y_integers.data());
        naive::cumsum(s.outer, s.n, s.inner, reverse, wide.data(), expected.data());
        naive::cumsum(s.outer, s.n, s.inner, reverse, integers.data(), expected_integers.data());
        BOOST_TEST((y_wide == expected));
        BOOST_TEST((y_integers == expected_integers));
        for (size_t i = 0; i < x.size(); ++i)
          BOOST_TEST(y[i] == static_cast<float>(expected[i]), "element " << i);
      }
    }
}

#pragma once
#include <gradus/base/memory.h>
#include <gradus/kernels/runtime/streamed.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace gradus::test {

using Exact = long double;

template <class T>
using Values = std::vector<T>;

template <class To, class From>
Values<To> as(const Values<From>& x) {
  return Values<To>(x.begin(), x.end());
}

template <class T>
bool same_bits(const Values<T>& x, const Values<T>& y) {
  return x.size() == y.size() &&
         (x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0);
}

/// Every |x - exact| at most `bound` epsilons of the largest |exact|, of `least` if that is larger.
template <class T>
void check_close(const Values<T>& x, const Values<Exact>& exact, double bound, double least = 1) {
  BOOST_TEST_REQUIRE(x.size() == exact.size());
  double size = least, worst = 0;
  for (Exact v : exact) size = std::max(size, static_cast<double>(std::abs(v)));
  for (size_t i = 0; i < x.size(); ++i) {
    const auto error = static_cast<double>(std::abs(static_cast<Exact>(x[i]) - exact[i]));
    worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
  }
  BOOST_TEST(worst / size / static_cast<double>(std::numeric_limits<T>::epsilon()) <= bound);
}

/// Large enough to be streamed, and aligned for it at its first element but not at the second.
template <class T>
struct StreamedTo {
  explicit StreamedTo(const Values<T>& expected)
      : same(expected), block(expected.size() + 1, T(7)) {
    BOOST_TEST_REQUIRE(kernels::streamed<T>(std::ssize(expected)));
  }
  void check_at(int64_t offset) const {
    const Values<T> written(block.begin() + offset, block.begin() + offset + std::ssize(same));
    BOOST_TEST(same_bits(written, same), "first element " << offset);
  }
  const Values<T>& same;
  std::vector<T, FreeListAllocator<T>> block;
};

}  // namespace gradus::test

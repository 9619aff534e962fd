#include <gradus/kernels/index/index.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/types.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

namespace gradus::kernels {
namespace {

constexpr int64_t kFewestForRadix = 2048;
constexpr int64_t kFewOf = 64;  // one of so many, and fewer, are few, which a heap finds
constexpr int kDigitBits = 11;
constexpr size_t kDigits = size_t{1} << kDigitBits;

template <class T>
using Bits = std::conditional_t<sizeof(T) == sizeof(uint64_t), uint64_t, uint32_t>;

/// A number's place in the order of T, as an unsigned integer: -0 as 0, NaN above all.
template <class T>
Bits<T> rank_of(T x) {
  if constexpr (std::is_same_v<T, bool>) {
    return x;
  } else if constexpr (std::is_integral_v<T>) {
    return std::bit_cast<Bits<T>>(x) ^ (Bits<T>{1} << (8 * sizeof(T) - 1));
  } else {
    constexpr Bits<T> sign = Bits<T>{1} << (8 * sizeof(T) - 1);
    if (x != x) return ~Bits<T>{0};
    const Bits<T> bits = x == 0 ? 0 : std::bit_cast<Bits<T>>(x);
    return bits & sign ? ~bits : bits | sign;
  }
}

/// A rank and where it stands. Places differ, so that a sort of these is stable.
template <class Rank>
struct Entry {
  Rank rank;
  Rank place;
  bool operator<(const Entry& other) const {
    return rank != other.rank ? rank < other.rank : place < other.place;
  }
};

/// Sorts by one digit of the rank after the other, from the last; entries of equal rank keep their
/// order, and digits that all have in common are skipped.
template <class Rank>
void radix_sort(int64_t n, Entry<Rank>* entries) {
  Entry<Rank>*from = entries, *to = workspace<Entry<Rank>, struct Sorted>(n);
  for (int shift = 0; shift < std::numeric_limits<Rank>::digits; shift += kDigitBits) {
    const auto digit = [shift](const Entry<Rank>& e) {
      return static_cast<size_t>(e.rank >> shift) % kDigits;
    };
    int64_t ends[kDigits] = {};
    for (int64_t i = 0; i < n; ++i) ++ends[digit(from[i])];
    if (ends[digit(from[0])] == n) continue;
    for (size_t d = 0, before = 0; d < kDigits; ++d) {
      const auto count = static_cast<size_t>(ends[d]);
      ends[d] = static_cast<int64_t>(before);
      before += count;
    }
    for (int64_t i = 0; i < n; ++i) to[ends[digit(from[i])]++] = from[i];
    std::swap(from, to);
  }
  if (from != entries) std::copy_n(from, n, entries);
}

/// The first m of n in their order.
template <class Rank, class At>
void few(int64_t n, int64_t m, Entry<Rank>* entries, At at) {
  for (int64_t i = 0; i < m; ++i) entries[i] = at(i);
  std::make_heap(entries, entries + m);
  for (int64_t i = m; i < n; ++i) {
    const Entry<Rank> next = at(i);
    if (!(next < entries[0])) continue;
    std::pop_heap(entries, entries + m);
    entries[m - 1] = next;
    std::push_heap(entries, entries + m);
  }
  std::sort_heap(entries, entries + m);
}

template <class Rank, class At>
void many(int64_t n, int64_t m, Entry<Rank>* entries, At at) {
  for (int64_t i = 0; i < n; ++i) entries[i] = at(i);
  if (m < n) std::nth_element(entries, entries + m, entries + n);
  m < n || n < kFewestForRadix ? std::sort(entries, entries + m) : radix_sort(n, entries);
}

/// The order of a column whose elements lie `stride` apart.
template <class Rank, class T>
void order_column(int64_t n, int64_t m, int64_t stride, bool descending, const T* x,
                  int64_t* index) {
  const Rank flip = descending ? ~Rank{0} : Rank{0};
  const auto at = [&](int64_t i) {
    return Entry<Rank>{static_cast<Rank>(rank_of(x[i * stride]) ^ flip), static_cast<Rank>(i)};
  };
  const bool is_few = m <= n / kFewOf;
  auto* const entries = workspace<Entry<Rank>, struct Unsorted>(is_few ? m : n);
  is_few ? few(n, m, entries, at) : many(n, m, entries, at);
  for (int64_t i = 0; i < m; ++i) index[i * stride] = static_cast<int64_t>(entries[i].place);
}

}  // namespace

template <class T>
void order(const IndexedAxis& s, bool descending, const T* x, int64_t* index) {
  if (s.m == 0 || s.inner == 0) return;
  parallel_for_rows(s.outer * s.inner, s.n, kFunctionGrain / 4, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const T* column = x + k / s.inner * s.n * s.inner + k % s.inner;
      int64_t* to = index + k / s.inner * s.m * s.inner + k % s.inner;
      s.n <= std::numeric_limits<uint32_t>::max() && sizeof(T) <= sizeof(uint32_t)
          ? order_column<Bits<T>>(s.n, s.m, s.inner, descending, column, to)
          : order_column<uint64_t>(s.n, s.m, s.inner, descending, column, to);
    }
  });
}

GRADUS_INSTANTIATE_ALL(order<T>)

}  // namespace gradus::kernels

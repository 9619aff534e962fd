#include <gradus/kernels/reduce/reduce.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>

namespace gradus::kernels {
namespace {

/// op(.. op(op(first, x_0), x_1) .., x_n-1)
template <class Op>
uint64_t fold_run(int64_t n, const int64_t* x, uint64_t first, Op op) {
  for (int64_t i = 0; i < n; ++i) first = op(first, static_cast<uint64_t>(x[i]));
  return first;
}

/// The same along the middle axis, `first` being op's neutral element.
template <class Op>
void fold(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y, uint64_t first,
          Op op) {
  if (outer == 1 && inner == 1) {  // pieces, whose results are folded
    const int64_t pieces = ceil_div(n, kGrain);
    auto* const parts = workspace<uint64_t, struct FoldParts>(pieces);
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      parts[begin / kGrain] = fold_run(end - begin, x + begin, first, op);
    });
    for (int64_t k = 0; k < pieces; ++k) first = op(first, parts[k]);
    *y = static_cast<int64_t>(first);
    return;
  }
  parallel_for_rows(outer, n * inner, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const int64_t* row = x + o * n * inner;
      int64_t* to = y + o * inner;
      if (inner == 1) {
        *to = static_cast<int64_t>(fold_run(n, row, first, op));
        continue;
      }
      std::fill_n(to, inner, static_cast<int64_t>(first));
      for (int64_t i = 0; i < n; ++i, row += inner)
        for (int64_t j = 0; j < inner; ++j)
          to[j] =
              static_cast<int64_t>(op(static_cast<uint64_t>(to[j]), static_cast<uint64_t>(row[j])));
    }
  });
}

template <class Better>
void extremum(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y, int64_t* index,
              Better better) {
  parallel_for_rows(outer, n * inner, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const int64_t* row = x + o * n * inner;
      int64_t *to = y + o * inner, *place = index ? index + o * inner : nullptr;
      std::copy_n(row, inner, to);
      if (place) std::fill_n(place, inner, 0);
      for (int64_t i = 1; i < n; ++i) {
        row += inner;
        for (int64_t j = 0; j < inner; ++j) {
          if (!better(row[j], to[j])) continue;
          to[j] = row[j];
          if (place) place[j] = i;
        }
      }
    }
  });
}

}  // namespace

template <>
void sum(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y) {
  fold(outer, n, inner, x, y, 0, [](uint64_t a, uint64_t b) { return a + b; });
}

void product_of_integers(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y) {
  fold(outer, n, inner, x, y, 1, [](uint64_t a, uint64_t b) { return a * b; });
}

template <>
void max(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y, int64_t* index) {
  extremum(outer, n, inner, x, y, index, [](int64_t a, int64_t b) { return a > b; });
}

template <>
void min(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y, int64_t* index) {
  extremum(outer, n, inner, x, y, index, [](int64_t a, int64_t b) { return a < b; });
}

}  // namespace gradus::kernels

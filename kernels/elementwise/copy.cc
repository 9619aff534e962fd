#include <gradus/kernels/elementwise/elementwise.h>
#include <gradus/kernels/runtime/loops.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace gradus::kernels {
namespace {

constexpr int kTo = 0, kFrom = 1;
constexpr int64_t kTile = 64;

/// The array's elements are moved as bytes, whatever their type.
template <size_t size>
void copy_rows(const Loops<2>& loops, const char* x, char* y) {
  constexpr int64_t bytes = size;
  const int last = loops.ndim - 1;
  const int64_t to = loops.strides[kTo][last] * bytes, from = loops.strides[kFrom][last] * bytes;
  const int64_t to_row = loops.strides[kTo][last - 1] * bytes,
                from_row = loops.strides[kFrom][last - 1] * bytes;
  for_each_row_block(loops, kGrain, [&](const int64_t* at, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; ++i) {
      char* p = y + at[kTo] * bytes + i * to_row;
      const char* q = x + at[kFrom] * bytes + i * from_row;
      if (to == bytes && from == bytes) {
        std::memcpy(p, q, static_cast<size_t>(columns) * size);
      } else if (to == bytes && from == 0) {
        char value[size];
        std::memcpy(value, q, size);
        for (int64_t j = 0; j < columns; ++j) std::memcpy(p + j * bytes, value, size);
      } else {
        for (int64_t j = 0; j < columns; ++j) std::memcpy(p + j * to, q + j * from, size);
      }
    }
  });
}

/// to[p to_row + j] = from[j from_row + p], as in ElementwiseKernels::transpose
template <size_t size>
void transpose(const char* from, int64_t from_row, int64_t rows, int64_t columns, char* to,
               int64_t to_row) {
  if constexpr (size == 1) {
    for (int64_t p = 0; p < columns; ++p)
      for (int64_t j = 0; j < rows; ++j) to[p * to_row + j] = from[j * from_row + p];
  } else {
    using T = std::conditional_t<size == 4, float, double>;  // moved, never computed with
    kernels<ElementwiseKernels<T>>().transpose(reinterpret_cast<const T*>(from), from_row, rows,
                                               columns, reinterpret_cast<T*>(to), to_row);
  }
}

/// Loop p is the one in which x is contiguous, loop q the one in which y is: tiles of these two,
/// which both arrays' cache lines serve.
template <size_t size>
void copy_tiles(const Loops<2>& loops, int p, int q, const char* x, char* y) {
  constexpr int64_t bytes = size;
  Loops<2> outer = loops;
  outer.erase(std::max(p, q));
  outer.erase(std::min(p, q));
  const int64_t n_p = loops.sizes[p], n_q = loops.sizes[q];
  const int64_t tiles_p = ceil_div(n_p, kTile), tiles_q = ceil_div(n_q, kTile);
  const int64_t tile = std::min(n_p, kTile) * std::min(n_q, kTile);
  const int64_t to_row = loops.strides[kTo][p], from_row = loops.strides[kFrom][q];
  parallel_for(outer.numel() * tiles_p * tiles_q, std::max<int64_t>(1, kGrain / tile),
               [&](int64_t begin, int64_t end) {
                 Odometer<2> at(outer, begin / (tiles_p * tiles_q));
                 for (int64_t k = begin; k < end; ++k) {
                   const int64_t i = k % (tiles_p * tiles_q) / tiles_q * kTile,
                                 j = k % tiles_q * kTile;
                   const int64_t to = at.offsets[kTo] + i * to_row + j;
                   const int64_t from = at.offsets[kFrom] + i + j * from_row;
                   transpose<size>(x + from * bytes, from_row, std::min(kTile, n_q - j),
                                   std::min(kTile, n_p - i), y + to * bytes, to_row);
                   if ((k + 1) % (tiles_p * tiles_q) == 0) at.next();
                 }
               });
}

/// The loop in which array k is contiguous, or -1.
int unit_loop(const Loops<2>& loops, int k) {
  for (int i = loops.ndim - 1; i >= 0; --i)
    if (loops.strides[k][i] == 1) return i;
  return -1;
}

template <size_t size>
void copy_loops(const Loops<2>& loops, const char* x, char* y) {
  const int p = unit_loop(loops, kFrom), q = unit_loop(loops, kTo);
  if (p >= 0 && q >= 0 && p != q && loops.strides[kFrom][q] != 0)
    copy_tiles<size>(loops, p, q, x, y);
  else
    copy_rows<size>(loops, x, y);
}

void copy(size_t size, int ndim, const int64_t* sizes, const char* x, const int64_t* x_strides,
          char* y, const int64_t* y_strides) {
  Loops<2> loops, padded;
  int64_t row_major[kMaxLoops], stride = 1;
  for (int i = ndim - 1; i >= 0; --i) {
    row_major[i] = stride;
    stride *= sizes[i];
  }
  if (stride == 0) return;
  for (int i = 0; i < ndim; ++i)
    loops.push(sizes[i],
               {y_strides ? y_strides[i] : row_major[i], x_strides ? x_strides[i] : row_major[i]});
  loops.collapse();
  while (padded.ndim + loops.ndim < 2) padded.push(1, {0, 0});
  for (int i = 0; i < loops.ndim; ++i)
    padded.push(loops.sizes[i], {loops.strides[kTo][i], loops.strides[kFrom][i]});
  if (size == 4)
    copy_loops<4>(padded, x, y);
  else if (size == 8)
    copy_loops<8>(padded, x, y);
  else
    copy_loops<1>(padded, x, y);
}

}  // namespace

void copy_strided(size_t size, int ndim, const int64_t* sizes, const char* x,
                  const int64_t* x_strides, char* y) {
  copy(size, ndim, sizes, x, x_strides, y, nullptr);
}

void copy_to_strided(size_t size, int ndim, const int64_t* sizes, const char* x, char* y,
                     const int64_t* y_strides) {
  copy(size, ndim, sizes, x, nullptr, y, y_strides);
}

}  // namespace gradus::kernels

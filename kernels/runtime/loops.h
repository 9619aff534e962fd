#pragma once
#include <gradus/kernels/runtime/threads.h>

#include <cstdint>

namespace gradus::kernels {

constexpr int kMaxLoops = 8;

/// Nested loops over `count` arrays, outermost first, strides in elements.
template <int count>
struct Loops {
  int ndim = 0;
  int64_t sizes[kMaxLoops];
  int64_t strides[count][kMaxLoops];

  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < ndim; ++i) n *= sizes[i];
    return n;
  }

  void push(int64_t size, const int64_t (&stride)[count]) {
    sizes[ndim] = size;
    for (int k = 0; k < count; ++k) strides[k][ndim] = stride[k];
    ++ndim;
  }

  void erase(int dim) {
    --ndim;
    for (int i = dim; i < ndim; ++i) {
      sizes[i] = sizes[i + 1];
      for (int k = 0; k < count; ++k) strides[k][i] = strides[k][i + 1];
    }
  }

  /// Drops loops of one round and joins neighbours that every array runs through in one stride.
  void collapse() {
    int to = 0;
    for (int from = 0; from < ndim; ++from) {
      if (sizes[from] == 1) continue;
      bool joins = to > 0;
      for (int k = 0; k < count && joins; ++k)
        joins = strides[k][to - 1] == strides[k][from] * sizes[from];
      to -= joins;
      sizes[to] = sizes[from] * (joins ? sizes[to] : 1);
      for (int k = 0; k < count; ++k) strides[k][to] = strides[k][from];
      ++to;
    }
    ndim = to;
  }
};

/// Runs through the rounds of nested loops and knows where each array stands.
template <int count>
struct Odometer {
  const Loops<count>& loops;
  int64_t index[kMaxLoops];
  int64_t offsets[count];

  /// Begins with round `position`.
  Odometer(const Loops<count>& all, int64_t position) : loops(all), index(), offsets() {
    for (int i = loops.ndim - 1; i >= 0; --i) {
      index[i] = position % loops.sizes[i];
      position /= loops.sizes[i];
      for (int k = 0; k < count; ++k) offsets[k] += index[i] * loops.strides[k][i];
    }
  }

  void next() {
    for (int i = loops.ndim - 1; i >= 0; --i) {
      for (int k = 0; k < count; ++k) offsets[k] += loops.strides[k][i];
      if (++index[i] < loops.sizes[i]) return;
      index[i] = 0;
      for (int k = 0; k < count; ++k) offsets[k] -= loops.sizes[i] * loops.strides[k][i];
    }
  }
};

/// Calls body(offsets, rows, columns) over runs of rows of the two inner loops, in pieces of about
/// `grain` elements spread over the threads. Needs at least two loops, none of them empty.
template <int count, class Body>
void for_each_row_block(const Loops<count>& all, int64_t grain, Body body) {
  const int64_t rows = all.sizes[all.ndim - 2], columns = all.sizes[all.ndim - 1];
  Loops<count> outer = all;
  outer.ndim -= 2;
  const int64_t row_pieces = ceil_div(columns, grain);
  if (row_pieces > 1) {
    outer.ndim += 1;
    parallel_for(outer.numel() * row_pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) {
        Odometer<count> at(outer, piece / row_pieces);
        const int64_t first = piece % row_pieces * grain;
        for (int k = 0; k < count; ++k) at.offsets[k] += first * all.strides[k][all.ndim - 1];
        body(at.offsets, int64_t{1}, first + grain < columns ? grain : columns - first);
      }
    });
    return;
  }
  parallel_for(outer.numel() * rows, grain / columns, [&](int64_t begin, int64_t end) {
    Odometer<count> at(outer, begin / rows);
    for (int64_t row = begin; row < end; at.next()) {
      const int64_t first = row % rows;
      const int64_t run = rows - first < end - row ? rows - first : end - row;
      int64_t offsets[count];
      for (int k = 0; k < count; ++k)
        offsets[k] = at.offsets[k] + first * all.strides[k][all.ndim - 2];
      body(offsets, run, columns);
      row += run;
    }
  });
}

}  // namespace gradus::kernels

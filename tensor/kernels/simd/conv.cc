// Convolution reads its input through a table of offsets, one for each term of an output's sum: no
// patches are written out. Either the output channels or neighbouring pixels lie in the lanes of a
// vector.

#include <gradus/tensor/kernels/conv_table.h>
#include <gradus/tensor/kernels/isa.h>
#include <gradus/tensor/kernels/simd/vectors.h>

namespace gradus::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int kAccumulators = 24, kTapsOfTwoVectors = 9;
#else
constexpr int kAccumulators = 12, kTapsOfTwoVectors = 5;
#endif
constexpr int kTapsOfOneVector =
    9;  // a 3x3 kernel; more pointers than there are registers otherwise
constexpr int kPixelVectors = 8, kDots = 4;

/// Calls tile(x, out) for `segments` runs of `length` neighbouring outputs at a time. The last run
/// of a row is moved back to end with it, the last tile is filled up with its first run: both only
/// write the same values twice.
template <int segments, class T, class Tile>
void for_each_tile(const ConvGrid<T>& g, int64_t length, Tile tile) {
  const T* x[segments];
  T* out[segments];
  int count = 0;
  for (int64_t n = 0; n < g.images; ++n)
    for (int64_t i = 0; i < g.rows; ++i)
      for (int64_t j = 0; j < g.columns; j += length) {
        const int64_t at = j + length <= g.columns ? j : g.columns - length;
        x[count] = g.x + n * g.x_image + i * g.x_row + at;
        out[count] = g.out + n * g.out_image + i * g.out_row + at * g.out_column;
        if (++count < segments) continue;
        tile(x, out);
        count = 0;
      }
  if (count == 0) return;
  for (; count < segments; ++count) {
    x[count] = x[0];
    out[count] = out[0];
  }
  tile(x, out);
}

template <class T, int segments, int length, int vectors>
void channels_tile(const ConvGrid<T>& g, const T* const* from, T* const* out) {
  constexpr int width = kWidth<T>;
  Vector<T> sum[segments][length][vectors];
  const T* x[segments];
  unroll<segments>([&](int s) __attribute__((always_inline)) {
    x[s] = from[s];
    unroll<length>([&](int l) __attribute__((always_inline)) {
      unroll<vectors>([&](int v) __attribute__((always_inline)) {
        sum[s][l][v] = load(g.bias + v * width);
      });
    });
  });
  const T* w = g.w;
  const int64_t* offsets = g.offsets;
  for (int64_t t = 0; t < g.terms; ++t, w += vectors * width) {
    const int64_t offset = offsets[t];
    Vector<T> row[vectors];
    unroll<vectors>([&](int v) __attribute__((always_inline)) { row[v] = load(w + v * width); });
    unroll<segments>([&](int s) __attribute__((always_inline)) {
      unroll<length>([&](int l) __attribute__((always_inline)) {
        const T value = x[s][offset + l];
        unroll<vectors>([&](int v)
                            __attribute__((always_inline)) { sum[s][l][v] += value * row[v]; });
      });
    });
  }
  unroll<segments>([&](int s) __attribute__((always_inline)) {
    unroll<length>([&](int l) __attribute__((always_inline)) {
      unroll<vectors>([&](int v) __attribute__((always_inline)) {
        store(out[s] + l * g.out_column + v * width, sum[s][l][v]);
      });
    });
  });
}

template <class T, int length, int vectors>
void channels_in_runs(const ConvGrid<T>& g) {
  constexpr int segments =
      kAccumulators / length / vectors > 12 ? 12 : kAccumulators / length / vectors;
  for_each_tile<segments>(g, length, [&](const T* const* x, T* const* out) {
    channels_tile<T, segments, length, vectors>(g, x, out);
  });
}

/// Runs of four need a pointer for four outputs; single outputs waste nothing on short rows.
template <class T>
void channels(const ConvGrid<T>& g, int vectors) {
  const bool runs = 5 * g.columns >= (g.columns + 3) / 4 * 16;
  if (vectors == 2)
    runs ? channels_in_runs<T, 4, 2>(g) : channels_in_runs<T, 1, 2>(g);
  else
    runs ? channels_in_runs<T, 4, 1>(g) : channels_in_runs<T, 1, 1>(g);
}

template <class T>
void pixels(const ConvGrid<T>& g) {
  const int count = static_cast<int>(g.columns < kWidth<T> ? g.columns : kWidth<T>);
  for_each_tile<kPixelVectors>(g, count, [&](const T* const* from, T* const* out) {
    Vector<T> sum[kPixelVectors];
    const T* x[kPixelVectors];
    unroll<kPixelVectors>([&](int s) __attribute__((always_inline)) {
      x[s] = from[s];
      sum[s] = Vector<T>{} + *g.bias;
    });
    for (int64_t t = 0; t < g.terms; ++t) {
      const int64_t offset = g.offsets[t];
      const T w = g.w[t];
      unroll<kPixelVectors>([&](int s) __attribute__((always_inline)) {
        sum[s] += w * load(x[s] + offset);
      });
    }
    unroll<kPixelVectors>([&](int s) __attribute__((always_inline)) {
      if (g.out_column == 1)
        store_first(out[s], sum[s], count);
      else
        for (int l = 0; l < count; ++l) out[s][l * g.out_column] = sum[s][l];
    });
  });
}

template <class T, int taps, int vectors>
void channels_weight_tile(const ConvTaps<T>& g, int64_t begin) {
  constexpr int width = kWidth<T>;
  const int64_t last = g.terms - 1;
  const T* x[taps];
  unroll<taps>([&](int t) __attribute__((always_inline)) {
    x[t] = g.x + g.offsets[begin + t < last ? begin + t : last];
  });
  Vector<T> sum[taps][vectors] = {};
  for (int64_t i = 0; i < g.rows; ++i) {
    const T* dy = g.dy + i * g.dy_row;
    const int64_t at = i * g.x_row;
    for (int64_t j = at; j < at + g.columns; ++j, dy += vectors * width) {
      Vector<T> row[vectors];
      unroll<vectors>([&](int v) __attribute__((always_inline)) { row[v] = load(dy + v * width); });
      unroll<taps>([&](int t) __attribute__((always_inline)) {
        const T value = x[t][j];
        unroll<vectors>([&](int v) __attribute__((always_inline)) { sum[t][v] += value * row[v]; });
      });
    }
  }
  unroll<taps>([&](int t) __attribute__((always_inline)) {
    if (begin + t > last) return;
    unroll<vectors>([&](int v) __attribute__((always_inline)) {
      T* out = g.out + ((begin + t) * vectors + v) * width;
      store(out, load(out) + sum[t][v]);
    });
  });
}

template <class T>
void channels_weight(const ConvTaps<T>& g, int vectors) {
  if (vectors == 2)
    for (int64_t t = 0; t < g.terms; t += kTapsOfTwoVectors)
      channels_weight_tile<T, kTapsOfTwoVectors, 2>(g, t);
  else
    for (int64_t t = 0; t < g.terms; t += kTapsOfOneVector)
      channels_weight_tile<T, kTapsOfOneVector, 1>(g, t);
}

template <class T>
void pixels_weight(const ConvTaps<T>& g) {
  constexpr int width = kWidth<T>;
  const int64_t full = g.columns - g.columns % width;
  const int rest = static_cast<int>(g.columns - full);
  for (int64_t begin = 0; begin < g.terms; begin += kDots) {
    const T* x[kDots];
    unroll<kDots>([&](int t) __attribute__((always_inline)) {
      x[t] = g.x + g.offsets[begin + t < g.terms ? begin + t : begin];
    });
    Vector<T> sum[kDots] = {};
    for (int64_t i = 0; i < g.rows; ++i) {
      const T* dy = g.dy + i * g.dy_row;
      const int64_t at = i * g.x_row;
      for (int64_t j = 0; j < full; j += width) {
        const Vector<T> d = load(dy + j);
        unroll<kDots>([&](int t)
                          __attribute__((always_inline)) { sum[t] += d * load(x[t] + at + j); });
      }
      if (rest == 0) continue;
      const Vector<T> d = load_first(dy + full, rest);
      unroll<kDots>([&](int t) __attribute__((always_inline)) {
        sum[t] += d * load_first(x[t] + at + full, rest);
      });
    }
    for (int64_t t = 0; t < kDots && begin + t < g.terms; ++t) {
      T total = 0;
      for (int l = 0; l < width; ++l) total += sum[t][l];
      g.out[begin + t] += total;
    }
  }
}

template <class T>
constexpr ConvKernels<T> kKernels = {kWidth<T>,          channels<T>,      pixels<T>,
                                     channels_weight<T>, pixels_weight<T>, transpose<T>};

}  // namespace

template <>
const ConvKernels<float>& table_for<ConvKernels<float>, Isa::GRADUS_ISA>() {
  return kKernels<float>;
}
template <>
const ConvKernels<double>& table_for<ConvKernels<double>, Isa::GRADUS_ISA>() {
  return kKernels<double>;
}

}  // namespace gradus::kernels

// Convolution with stride 1 as a product whose patches are read where they lie: of (outs, taps)
// with (taps, pixels), the pixels of a tap being consecutive along a row of the padded image.

#include <gradus/kernels/conv/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/lanes.h>

namespace gradus::kernels {
namespace {

using V = Vector<float>;
constexpr int kLanes = kWidth<float>;
// The outputs, and the vectors of pixels, that are in registers at a time.
constexpr int kOuts = Level::kConvOuts, kPixels = Level::kConvPixels;

/// Where vector number `index` of an image's pixels begins: rows are covered from the left, and the
/// last vector of a row ends with the row if that is long enough.
struct Pixel {
  Pixel(const DirectShape& s, int64_t per_row, int64_t index)
      : i(index / per_row), j(index % per_row * kLanes) {
    if (j + kLanes > s.width) j = s.width < kLanes ? 0 : s.width - kLanes;
  }
  int64_t i, j;
};

/// Also adds 0 y to `zeros`, which y that is not finite makes NaN.
template <int outs, int pixels>
void forward_tile(const DirectShape& s, const float* const (&x)[kPixels], const float* w,
                  const float* bias, float* const (&y)[kPixels], int64_t plane, int count,
                  V& zeros) {
  V sum[outs][pixels] = {};
  const int64_t taps = s.taps;
  for (int64_t k = 0; k < taps; ++k) {
    const int64_t offset = s.offsets[k];
    V patch[pixels];
    unroll<pixels>([&](int v) GRADUS_INLINE { patch[v] = load(x[v] + offset); });
    unroll<outs>([&](int o) GRADUS_INLINE {
      const float weight = w[o * taps + k];
      unroll<pixels>([&](int v) GRADUS_INLINE { sum[o][v] += weight * patch[v]; });
    });
  }
  V check[pixels] = {};
  unroll<outs>([&](int o) GRADUS_INLINE {
    const V shift = V{} + (bias ? bias[o] : 0.0f);
    unroll<pixels>([&](int v) GRADUS_INLINE {
      const V result = sum[o][v] + shift;
      check[v] += 0.0f * result;
      if (count == kLanes)
        store(y[v] + o * plane, result);
      else
        store_first(y[v] + o * plane, result, count);
    });
  });
  unroll<pixels>([&](int v) GRADUS_INLINE { zeros += check[v]; });
}

/// f<outs>() for the `outs` of 1 .. most.
template <int most, class F>
void with_constant(int64_t outs, F f) {
  if constexpr (most > 1)
    if (outs < most) return with_constant<most - 1>(outs, f);
  f.template operator()<most>();
}

bool forward(const DirectShape& s, const float* image, const float* w, const float* bias,
             float* result) {
  const int64_t per_row = (s.width + kLanes - 1) / kLanes, all = s.height * per_row,
                plane = s.height * s.width;
  const int count = s.width < kLanes ? static_cast<int>(s.width) : kLanes;
  V zeros = {};
  for (int64_t first = 0; first < all; first += kPixels) {
    const float* x[kPixels] = {};
    float* y[kPixels] = {};
    const int64_t pixels = all - first < kPixels ? all - first : kPixels;
    for (int64_t v = 0; v < pixels; ++v) {
      const Pixel at(s, per_row, first + v);
      x[v] = image + at.i * s.row + at.j;
      y[v] = result + at.i * s.width + at.j;
    }
    for (int64_t o = 0; o < s.outs; o += kOuts) {
      with_constant<kPixels>(pixels, [&]<int vectors>() {
        with_constant<kOuts>(s.outs - o, [&]<int outs>() {
          forward_tile<outs, vectors>(s, x, w + o * s.taps, bias ? bias + o : nullptr, y, plane,
                                      count, zeros);
        });
      });
      for (float*& to : y) to += kOuts * plane;
    }
  }
  return horizontal_sum(zeros) == 0;
}

// Sums along the rows, for some outputs times some taps at a time. A lane adds up about 1024 pixels
// before it goes to dw, since roundings of a long sum may add up.
constexpr int kGradientOuts = 4, kGradientTaps = 3;
constexpr int64_t kGradientPixels = 1024 * kLanes;

template <int outs, int taps>
void weight_tile(const DirectShape& s, const float* const (&x)[kGradientTaps], const float* dy,
                 float* dw) {
  const int64_t plane = s.height * s.width;
  const int64_t full = s.width - s.width % kLanes;
  const SomeLanes<float, true> last{{}, static_cast<int>(s.width - full)};
  for (int64_t begin = 0; begin < s.height;) {
    const int64_t rows = 1 + kGradientPixels / s.width;
    const int64_t end = begin + rows < s.height ? begin + rows : s.height;
    V sum[outs][taps] = {};
    const auto add = [&](int64_t i, int64_t j, auto lanes) GRADUS_INLINE {
      V pixels[taps];
      unroll<taps>([&](int k) GRADUS_INLINE { pixels[k] = lanes.load(x[k] + i * s.row + j); });
      unroll<outs>([&](int o) GRADUS_INLINE {
        const V gradient = lanes.load(dy + o * plane + i * s.width + j);
        unroll<taps>([&](int k) GRADUS_INLINE { sum[o][k] += gradient * pixels[k]; });
      });
    };
    for (; begin < end; ++begin) {
      for (int64_t j = 0; j < full; j += kLanes) add(begin, j, AllLanes<float>{});
      if (full < s.width) add(begin, full, last);
    }
    unroll<outs>([&](int o) GRADUS_INLINE {
      unroll<taps>([&](int k) GRADUS_INLINE { dw[o * s.taps + k] += horizontal_sum(sum[o][k]); });
    });
  }
}

void weight(const DirectShape& s, const float* image, const float* dy, float* dw) {
  for (int64_t o = 0; o < s.outs; o += kGradientOuts)
    for (int64_t k = 0; k < s.taps; k += kGradientTaps) {
      const float* x[kGradientTaps] = {};
      for (int64_t t = 0; t < kGradientTaps && k + t < s.taps; ++t) x[t] = image + s.offsets[k + t];
      with_constant<kGradientOuts>(s.outs - o, [&]<int outs>() {
        with_constant<kGradientTaps>(s.taps - k, [&]<int taps>() {
          weight_tile<outs, taps>(s, x, dy + o * s.height * s.width, dw + o * s.taps + k);
        });
      });
    }
}

constexpr ConvDirectKernels kKernels = {kLanes, forward, weight};

}  // namespace

template <>
const ConvDirectKernels& table_for<ConvDirectKernels, Isa::GRADUS_ISA>() {
  return kKernels;
}

}  // namespace gradus::kernels

#include <gradus/kernels/conv/paths.h>
#include <gradus/kernels/reduce/reduce.h>

#include <atomic>
#include <cmath>

namespace gradus::kernels {

namespace {

/// The t of first .. end - 1 are those of 0 .. count - 1 for which at + t step lies in 0 .. size -
/// 1.
struct Inside {
  Inside(int64_t at, int64_t step, int64_t count, int64_t size)
      : first(at >= 0 ? 0 : ceil_div(-at, step)),
        end(at >= size ? 0 : std::min(count, (size - 1 - at) / step + 1)) {}
  int64_t first, end;
};

/// Where tap p of the kernel lies at output i, along an axis.
int64_t place_h(const Conv2dShape& s, int64_t i, int64_t p) {
  return i * s.stride_h - s.padding_h + p * s.dilation_h;
}
int64_t place_w(const Conv2dShape& s, int64_t j, int64_t q) {
  return j * s.stride_w - s.padding_w + q * s.dilation_w;
}

/// f(output) for the output of 0 .. outputs - 1 whose tap lies at `place`, which it does at
/// output * stride + tap_place, if there is one.
template <class F>
void at_output(int64_t place, int64_t tap_place, int64_t stride, int64_t outputs, F f) {
  const int64_t shift = place - tap_place;
  if (shift >= 0 && shift % stride == 0 && shift / stride < outputs) f(shift / stride);
}

// Each is one element, `at` being its place, summed in f64, in which products of f32 are exact.
// What is not a number stays so.

template <class T>
double defined_y(const Conv2dShape& s, const T* x, const T* w, const T* bias, int64_t at) {
  const int64_t ow = s.output_width(), plane = s.output_height() * ow;
  const int64_t j = at % ow, i = at % plane / ow, o = at / plane % s.out_channels,
                n = at / plane / s.out_channels;
  const Inside h(place_h(s, i, 0), s.dilation_h, s.kernel_h, s.height),
      v(place_w(s, j, 0), s.dilation_w, s.kernel_w, s.width);
  double sum = bias ? static_cast<double>(bias[o]) : 0;
  for (int64_t c = 0; c < s.group_in() && !std::isnan(sum); ++c) {
    const int64_t channel = n * s.in_channels + o / s.group_out() * s.group_in() + c;
    for (int64_t p = h.first; p < h.end; ++p) {
      const T* const row = x + (channel * s.height + place_h(s, i, p)) * s.width;
      const T* const weights = w + ((o * s.group_in() + c) * s.kernel_h + p) * s.kernel_w;
      for (int64_t q = v.first; q < v.end; ++q)
        sum += static_cast<double>(weights[q]) * static_cast<double>(row[place_w(s, j, q)]);
    }
  }
  return sum;
}

template <class T>
double defined_dx(const Conv2dShape& s, const T* dy, const T* w, int64_t at) {
  const int64_t v = at % s.width, h = at / s.width % s.height,
                channel = at / (s.width * s.height) % s.in_channels,
                n = at / s.width / s.height / s.in_channels;
  const int64_t oh = s.output_height(), ow = s.output_width();
  const int64_t group = channel / s.group_in(), c = channel % s.group_in();
  double sum = 0;
  for (int64_t k = 0; k < s.group_out() && !std::isnan(sum); ++k) {
    const int64_t o = group * s.group_out() + k;
    const T* const gradient = dy + (n * s.out_channels + o) * oh * ow;
    const T* const weights = w + (o * s.group_in() + c) * s.kernel_h * s.kernel_w;
    for (int64_t p = 0; p < s.kernel_h; ++p)
      at_output(h, place_h(s, 0, p), s.stride_h, oh, [&](int64_t i) {
        for (int64_t q = 0; q < s.kernel_w; ++q)
          at_output(v, place_w(s, 0, q), s.stride_w, ow, [&](int64_t j) {
            sum += static_cast<double>(weights[p * s.kernel_w + q]) *
                   static_cast<double>(gradient[i * ow + j]);
          });
      });
  }
  return sum;
}

template <class T>
double defined_dw(const Conv2dShape& s, const T* x, const T* dy, int64_t at) {
  const int64_t q = at % s.kernel_w, p = at / s.kernel_w % s.kernel_h,
                c = at / (s.kernel_w * s.kernel_h) % s.group_in(),
                o = at / (s.kernel_w * s.kernel_h) / s.group_in();
  const int64_t oh = s.output_height(), ow = s.output_width();
  const int64_t channel = o / s.group_out() * s.group_in() + c;
  const Inside i_range(place_h(s, 0, p), s.stride_h, oh, s.height),
      j_range(place_w(s, 0, q), s.stride_w, ow, s.width);
  double sum = 0;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t i = i_range.first; i < i_range.end && !std::isnan(sum); ++i) {
      const T* const row =
          x + ((n * s.in_channels + channel) * s.height + place_h(s, i, p)) * s.width;
      const T* const gradient = dy + ((n * s.out_channels + o) * oh + i) * ow;
      for (int64_t j = j_range.first; j < j_range.end; ++j)
        sum += static_cast<double>(gradient[j]) * static_cast<double>(row[place_w(s, j, q)]);
    }
  return sum;
}

template <class T>
double defined_db(const Conv2dShape& s, const T* dy, int64_t o) {
  const int64_t plane = s.output_height() * s.output_width();
  double sum = 0;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t i = 0; i < plane; ++i)
      sum += static_cast<double>(dy[(n * s.out_channels + o) * plane + i]);
  return sum;
}

/// to[k] = element(k) for the k of begin .. end - 1 where it is not finite.
template <class T, class Element>
void define_what_is_not_finite(int64_t begin, int64_t end, T* to, Element element) {
  constexpr int64_t kBlock = 1 << 12;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t last = std::min(end, first + kBlock);
    if (all_finite(last - first, to + first)) continue;
    for (int64_t k = first; k < last; ++k)
      if (!std::isfinite(to[k])) to[k] = static_cast<T>(element(k));
  }
}

}  // namespace

template <class T>
void define_y(const Conv2dShape& s, const T* x, const T* w, const T* bias, int64_t begin,
              int64_t end, T* y) {
  define_what_is_not_finite(begin, end, y,
                            [&](int64_t at) { return defined_y(s, x, w, bias, at); });
}

template <class T>
void define_dx(const Conv2dShape& s, const T* dy, const T* w, int64_t begin, int64_t end, T* dx) {
  define_what_is_not_finite(begin, end, dx, [&](int64_t at) { return defined_dx(s, dy, w, at); });
}

template <class T>
void define_dw(const Conv2dShape& s, const T* x, const T* dy, T* dw, T* db) {
  std::atomic<bool> finite = true;
  parallel_for(s.w_size(), 2 * kGrain, [&](int64_t begin, int64_t end) {
    if (!all_finite(end - begin, dw + begin)) finite = false;
  });
  constexpr int64_t kWeights = 16;  // that a thread defines at a time
  if (!finite)
    parallel_for(s.w_size(), kWeights, [&](int64_t begin, int64_t end) {
      define_what_is_not_finite(begin, end, dw,
                                [&](int64_t at) { return defined_dw(s, x, dy, at); });
    });
  if (db)
    define_what_is_not_finite(0, s.out_channels, db,
                              [&](int64_t o) { return defined_db(s, dy, o); });
}

GRADUS_INSTANTIATE(define_y<T>, define_dx<T>, define_dw<T>)

}  // namespace gradus::kernels

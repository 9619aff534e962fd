#include <gradus/kernels/conv/paths.h>
#include <gradus/kernels/conv/table.h>

namespace gradus::kernels {
namespace {

const ConvDirectKernels& table() { return kernels<ConvDirectKernels>(); }

/// One group of a convolution with stride 1: x (in, height, width), y (out, out_height, out_width),
/// w (out, in, KH, KW).
struct Group {
  int64_t in, height, width, out, out_height, out_width;
  int64_t kernel_h, kernel_w, dilation_h, dilation_w, padding_h, padding_w;

  int64_t taps() const { return in * kernel_h * kernel_w; }
  int64_t padded_height() const { return out_height + dilation_h * (kernel_h - 1); }
  int64_t padded_width() const { return out_width + dilation_w * (kernel_w - 1); }
};

Group group_of(const Conv2dShape& s) {
  return {s.group_in(),      s.height,         s.width,     s.group_out(),
          s.output_height(), s.output_width(), s.kernel_h,  s.kernel_w,
          s.dilation_h,      s.dilation_w,     s.padding_h, s.padding_w};
}

/// The group that gives dx from dy: x and y have changed places, and the padding is the rest of
/// what the kernel covers.
Group transposed(const Group& g) {
  Group t = g;
  std::swap(t.in, t.out);
  std::swap(t.height, t.out_height);
  std::swap(t.width, t.out_width);
  t.padding_h = g.dilation_h * (g.kernel_h - 1) - g.padding_h;
  t.padding_w = g.dilation_w * (g.kernel_w - 1) - g.padding_w;
  return t;
}

/// The taps' places in a padded image.
const int64_t* tap_offsets(const Group& g) {
  int64_t* const offsets = workspace<int64_t, struct Offsets>(g.taps());
  int64_t k = 0;
  for (int64_t c = 0; c < g.in; ++c)
    for (int64_t p = 0; p < g.kernel_h; ++p)
      for (int64_t q = 0; q < g.kernel_w; ++q)
        offsets[k++] =
            (c * g.padded_height() + p * g.dilation_h) * g.padded_width() + q * g.dilation_w;
  return offsets;
}

/// x with zeros around it, and a vector of them behind it, in this thread's workspace.
const float* padded(const Group& g, const float* x) {
  const int64_t height = g.padded_height(), width = g.padded_width();
  float* const image = workspace<float, struct Padded>(g.in * height * width + table().width);
  float* to = image;
  for (int64_t c = 0; c < g.in; ++c)
    for (int64_t i = 0; i < height; ++i, to += width) {
      const int64_t h = i - g.padding_h;
      if (h < 0 || h >= g.height) {
        std::fill_n(to, width, 0.0f);
        continue;
      }
      std::fill_n(to, g.padding_w, 0.0f);
      std::copy_n(x + (c * g.height + h) * g.width, g.width, to + g.padding_w);
      std::fill(to + g.padding_w + g.width, to + width, 0.0f);
    }
  std::fill_n(to, table().width, 0.0f);
  return image;
}

DirectShape shape_of(const Group& g, const int64_t* offsets) {
  return {g.out, g.taps(), g.out_height, g.out_width, offsets, g.padded_width()};
}

/// Every group of every image: y = x correlated with w, plus bias. define(begin, end) where those
/// of y may not be finite.
template <class Define>
void correlate(const Conv2dShape& s, const Group& g, const float* x, const float* w,
               const float* bias, float* y, Define define) {
  const DirectShape shape = shape_of(g, tap_offsets(g));
  const int64_t x_group = g.in * g.height * g.width, y_group = g.out * g.out_height * g.out_width;
  const int64_t work = y_group * g.taps() + 1;
  parallel_for(s.batch * s.groups, per_grain(work, kProductGrain), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i % s.groups * g.out;
      if (!table().forward(shape, padded(g, x + i * x_group), w + o * g.taps(),
                           bias ? bias + o : nullptr, y + i * y_group))
        define(i * y_group, (i + 1) * y_group);
    }
  });
}

}  // namespace

void direct_conv2d(const Conv2dShape& s, const float* x, const float* w, const float* bias,
                   float* y) {
  correlate(s, group_of(s), x, w, bias, y,
            [&](int64_t begin, int64_t end) { define_y(s, x, w, bias, begin, end, y); });
}

// dx is dy correlated with the rotated weights, outputs and inputs having changed places.
void direct_conv2d_input(const Conv2dShape& s, const float* dy, const float* w, float* dx) {
  const Group g = group_of(s);
  const int64_t places = g.kernel_h * g.kernel_w;
  float* const rotated = workspace<float, struct Rotated>(s.w_size());
  for (int64_t i = 0; i < s.out_channels * g.in; ++i) {
    const int64_t group = i / (g.out * g.in), o = i / g.in % g.out, c = i % g.in;
    std::reverse_copy(w + i * places, w + (i + 1) * places,
                      rotated + ((group * g.in + c) * g.out + o) * places);
  }
  correlate(s, transposed(g), dy, rotated, nullptr, dx,
            [&](int64_t begin, int64_t end) { define_dx(s, dy, w, begin, end, dx); });
}

void direct_conv2d_weight(const Conv2dShape& s, const float* x, const float* dy, float* dw,
                          float* db) {
  const Group g = group_of(s);
  const DirectShape shape = shape_of(g, tap_offsets(g));
  const int64_t x_group = g.in * g.height * g.width, y_group = g.out * g.out_height * g.out_width;
  sum_over_images(s, dy, dw, db, [&](int64_t n, float* sums) {
    for (int64_t i = 0; i < s.groups; ++i)
      table().weight(shape, padded(g, x + (n * s.groups + i) * x_group),
                     dy + (n * s.groups + i) * y_group, sums + i * g.out * g.taps());
  });
}

}  // namespace gradus::kernels

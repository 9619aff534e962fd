#include <gradus/kernels/conv/paths.h>
#include <gradus/kernels/gemm/gemm.h>

namespace gradus::kernels {

namespace {

/// One image's group as a product: (out, k) x (k, pixels).
struct Product {
  explicit Product(const Conv2dShape& s)
      : out(s.group_out()),
        k(s.group_in() * s.kernel_h * s.kernel_w),
        pixels(s.output_height() * s.output_width()),
        x_group(s.group_in() * s.height * s.width) {}
  int64_t out, k, pixels, x_group;
};

/// Calls f(j0, j1) with the range of output columns whose input column lies inside, for kernel
/// column q.
template <class F>
void for_row(const Conv2dShape& s, int64_t q, F f) {
  const int64_t shift = q * s.dilation_w - s.padding_w, ow = s.output_width();
  const int64_t first = shift >= 0 ? 0 : (-shift + s.stride_w - 1) / s.stride_w;
  const int64_t last = s.width - 1 - shift < 0 ? 0 : (s.width - 1 - shift) / s.stride_w + 1;
  const int64_t end = std::min(last, ow);
  f(std::min(first, end), end, shift);
}

/// columns[(c, p, q), (i, j)] = x[c, i stride - padding + p dilation, ...], 0 outside.
template <class T>
void im2col(const Conv2dShape& s, const T* x, T* columns) {
  const int64_t oh = s.output_height(), ow = s.output_width();
  for (int64_t c = 0; c < s.group_in(); ++c)
    for (int64_t p = 0; p < s.kernel_h; ++p)
      for (int64_t q = 0; q < s.kernel_w; ++q)
        for_row(s, q, [&](int64_t first, int64_t end, int64_t shift) {
          for (int64_t i = 0; i < oh; ++i, columns += ow) {
            const int64_t h = i * s.stride_h - s.padding_h + p * s.dilation_h;
            if (h < 0 || h >= s.height) {
              std::fill_n(columns, ow, T(0));
              continue;
            }
            const T* row = x + (c * s.height + h) * s.width + shift;
            std::fill_n(columns, first, T(0));
            if (s.stride_w == 1)
              std::copy(row + first, row + end, columns + first);
            else
              for (int64_t j = first; j < end; ++j) columns[j] = row[j * s.stride_w];
            std::fill(columns + end, columns + ow, T(0));
          }
        });
}

/// The adjoint: x gets the sum of what im2col would have copied from it.
template <class T>
void col2im(const Conv2dShape& s, const T* columns, T* x) {
  const int64_t oh = s.output_height(), ow = s.output_width(), plane = s.height * s.width;
  for (int64_t c = 0; c < s.group_in(); ++c, x += plane) {
    LongSum<T, struct Taps> taps;
    taps.begin(x, 1, plane, plane);
    for (int64_t p = 0; p < s.kernel_h; ++p)
      for (int64_t q = 0; q < s.kernel_w; ++q) {
        taps.next();
        for_row(s, q, [&](int64_t first, int64_t end, int64_t shift) {
          for (int64_t i = 0; i < oh; ++i, columns += ow) {
            const int64_t h = i * s.stride_h - s.padding_h + p * s.dilation_h;
            if (h < 0 || h >= s.height) continue;
            T* row = x + h * s.width + shift;
            if (s.stride_w == 1)
              for (int64_t j = first; j < end; ++j) row[j] += columns[j];
            else
              for (int64_t j = first; j < end; ++j) row[j * s.stride_w] += columns[j];
          }
        });
      }
    taps.finish();
  }
}

template <class T>
T* column_memory(int64_t size) {
  return workspace<T, struct Columns>(size);
}

/// Calls f(n, g) for each image and group, spread over the threads by size.
template <class F>
void for_each_group(const Conv2dShape& s, const Product& size, F f) {
  const int64_t work = size.out * size.k * size.pixels + 1;
  parallel_for(s.batch * s.groups, per_grain(work, kProductGrain), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i / s.groups, i % s.groups);
  });
}

/// The patches (k, pixels) of one image's group; those of a 1x1 are the image as it stands.
template <class T>
const T* patches(const Conv2dShape& s, const Product& size, const T* x) {
  if (applies(ConvPath::pointwise, s)) return x;
  T* const columns = column_memory<T>(size.k * size.pixels);
  im2col(s, x, columns);
  return columns;
}

}  // namespace

template <class T>
void im2col_conv2d(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y) {
  const Product size(s);
  for_each_group(s, size, [&](int64_t n, int64_t g) {
    const int64_t begin = (n * s.groups + g) * size.out * size.pixels;
    T* out = y + begin;
    gemm<T>({Transpose::no, Transpose::no, size.out, size.pixels, size.k, T(1),
             w + g * size.out * size.k, size.k,
             patches(s, size, x + (n * s.groups + g) * size.x_group), size.pixels, T(0), out,
             size.pixels});
    for (int64_t o = 0; bias && o < size.out; ++o, out += size.pixels)
      for (int64_t i = 0; i < size.pixels; ++i) out[i] += bias[g * size.out + o];
    define_y(s, x, w, bias, begin, begin + size.out * size.pixels, y);
  });
}

template <class T>
void im2col_conv2d_input(const Conv2dShape& s, const T* dy, const T* w, T* dx) {
  const Product size(s);
  const bool pointwise = applies(ConvPath::pointwise, s);
  for_each_group(s, size, [&](int64_t n, int64_t g) {
    const int64_t begin = (n * s.groups + g) * size.x_group;
    T* to = dx + begin;
    T* columns = pointwise ? to : column_memory<T>(size.k * size.pixels);
    gemm<T>({Transpose::yes, Transpose::no, size.k, size.pixels, size.out, T(1),
             w + g * size.out * size.k, size.k, dy + (n * s.groups + g) * size.out * size.pixels,
             size.pixels, T(0), columns, size.pixels});
    if (!pointwise) col2im(s, columns, to);
    define_dx(s, dy, w, begin, begin + size.x_group, dx);
  });
}

template <class T>
void im2col_conv2d_weight(const Conv2dShape& s, const T* x, const T* dy, T* dw, T* db) {
  const Product size(s);
  sum_over_images(s, dy, dw, db, [&](int64_t n, T* sums) {
    for (int64_t g = 0; g < s.groups; ++g)
      gemm<T>({Transpose::no, Transpose::yes, size.out, size.k, size.pixels, T(1),
               dy + (n * s.groups + g) * size.out * size.pixels, size.pixels,
               patches(s, size, x + (n * s.groups + g) * size.x_group), size.pixels, T(1),
               sums + g * size.out * size.k, size.k});
  });
}

GRADUS_INSTANTIATE(im2col_conv2d<T>, im2col_conv2d_input<T>, im2col_conv2d_weight<T>)

}  // namespace gradus::kernels

#include <gradus/tensor/error.h>
#include <gradus/tensor/kernels/conv.h>
#include <gradus/tensor/kernels/gemm.h>
#include <gradus/tensor/kernels/threads.h>
#include <gradus/tensor/kernels/workspace.h>

#include <algorithm>
#include <cstring>

namespace gradus::kernels {

namespace {

int64_t output_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding,
                    int64_t dilation) {
  const int64_t room = size + 2 * padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

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
  const int64_t oh = s.output_height(), ow = s.output_width();
  std::fill_n(x, s.group_in() * s.height * s.width, T(0));
  for (int64_t c = 0; c < s.group_in(); ++c)
    for (int64_t p = 0; p < s.kernel_h; ++p)
      for (int64_t q = 0; q < s.kernel_w; ++q)
        for_row(s, q, [&](int64_t first, int64_t end, int64_t shift) {
          for (int64_t i = 0; i < oh; ++i, columns += ow) {
            const int64_t h = i * s.stride_h - s.padding_h + p * s.dilation_h;
            if (h < 0 || h >= s.height) continue;
            T* row = x + (c * s.height + h) * s.width + shift;
            if (s.stride_w == 1)
              for (int64_t j = first; j < end; ++j) row[j] += columns[j];
            else
              for (int64_t j = first; j < end; ++j) row[j * s.stride_w] += columns[j];
          }
        });
}

ConvPath resolve(const Conv2dShape& s, ConvPath path) {
  if (path == ConvPath::automatic) return conv_path(s);
  check(applies(path, s), "conv2d: the path {} cannot serve a kernel of {}x{} with stride {}",
        name(path), s.kernel_h, s.kernel_w, s.stride_h);
  return path;
}

template <class T>
T* column_memory(int64_t size) {
  static constinit thread_local Workspace<T, struct Columns> columns;
  return columns.of_size(size);
}

/// Calls f(n, g) for each image and group, spread over the threads by size.
template <class F>
void for_each_group(const Conv2dShape& s, const Product& size, F f) {
  const int64_t work = size.out * size.k * size.pixels + 1;
  parallel_for(s.batch * s.groups, std::max<int64_t>(1, (1 << 18) / work),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) f(i / s.groups, i % s.groups);
               });
}

}  // namespace

int64_t Conv2dShape::output_height() const {
  return output_size(height, kernel_h, stride_h, padding_h, dilation_h);
}
int64_t Conv2dShape::output_width() const {
  return output_size(width, kernel_w, stride_w, padding_w, dilation_w);
}

void check_conv2d(const char* op, const Conv2dShape& s) {
  check(s.stride_h > 0 && s.stride_w > 0 && s.dilation_h > 0 && s.dilation_w > 0,
        "{}: stride {}x{} and dilation {}x{} must be positive", op, s.stride_h, s.stride_w,
        s.dilation_h, s.dilation_w);
  check(s.padding_h >= 0 && s.padding_w >= 0, "{}: padding {}x{} is negative", op, s.padding_h,
        s.padding_w);
  check(s.groups > 0 && s.in_channels > 0 && s.out_channels > 0 && s.in_channels % s.groups == 0 &&
            s.out_channels % s.groups == 0,
        "{}: {} input and {} output channels do not divide into {} groups", op, s.in_channels,
        s.out_channels, s.groups);
  check(
      s.kernel_h > 0 && s.kernel_w > 0 && s.output_height() > 0 && s.output_width() > 0,
      "{}: a kernel of {}x{} (dilation {}x{}) is larger than the image of {}x{} with padding {}x{}",
      op, s.kernel_h, s.kernel_w, s.dilation_h, s.dilation_w, s.height, s.width, s.padding_h,
      s.padding_w);
}

const char* name(ConvPath path) {
  constexpr const char* names[] = {"automatic", "pointwise", "im2col"};
  return names[static_cast<int>(path)];
}

bool applies(ConvPath path, const Conv2dShape& s) {
  if (path != ConvPath::pointwise) return true;
  return s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
         s.padding_h == 0 && s.padding_w == 0;
}

ConvPath conv_path(const Conv2dShape& s) {
  return applies(ConvPath::pointwise, s) ? ConvPath::pointwise : ConvPath::im2col;
}

template <class T>
void conv2d(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y, ConvPath path) {
  check_conv2d("conv2d", s);
  const Product size(s);
  const bool pointwise = resolve(s, path) == ConvPath::pointwise;
  for_each_group(s, size, [&](int64_t n, int64_t g) {
    const T* source = x + (n * s.groups + g) * size.x_group;
    T* columns = pointwise ? nullptr : column_memory<T>(size.k * size.pixels);
    if (!pointwise) im2col(s, source, columns);
    T* out = y + (n * s.groups + g) * size.out * size.pixels;
    if (bias)
      for (int64_t o = 0; o < size.out; ++o)
        std::fill_n(out + o * size.pixels, size.pixels, bias[g * size.out + o]);
    gemm<T>(Transpose::no, Transpose::no, size.out, size.pixels, size.k, T(1),
            w + g * size.out * size.k, size.k, pointwise ? source : columns, size.pixels,
            bias ? T(1) : T(0), out, size.pixels);
  });
}

template <class T>
void conv2d_input(const Conv2dShape& s, const T* dy, const T* w, T* dx, ConvPath path) {
  check_conv2d("conv2d_input", s);
  const Product size(s);
  const bool pointwise = resolve(s, path) == ConvPath::pointwise;
  for_each_group(s, size, [&](int64_t n, int64_t g) {
    T* to = dx + (n * s.groups + g) * size.x_group;
    T* columns = pointwise ? to : column_memory<T>(size.k * size.pixels);
    gemm<T>(Transpose::yes, Transpose::no, size.k, size.pixels, size.out, T(1),
            w + g * size.out * size.k, size.k, dy + (n * s.groups + g) * size.out * size.pixels,
            size.pixels, T(0), columns, size.pixels);
    if (!pointwise) col2im(s, columns, to);
  });
}

template <class T>
void conv2d_weight(const Conv2dShape& s, const T* x, const T* dy, T* dw, ConvPath path) {
  check_conv2d("conv2d_weight", s);
  const Product size(s);
  const bool pointwise = resolve(s, path) == ConvPath::pointwise;
  // A sum over the images: pieces cut by the shape, added in order, so that threads do not show.
  constexpr int64_t kPieces = 16;
  const int64_t images = std::max<int64_t>(1, (s.batch + kPieces - 1) / kPieces);
  const int64_t pieces = (s.batch + images - 1) / images, weights = s.w_size();
  std::fill_n(dw, weights, T(0));
  if (pieces == 0) return;
  static constinit thread_local Workspace<T, struct Partial> memory;
  T* const partial = memory.of_size(pieces * weights);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      for (int64_t n = piece * images; n < std::min(s.batch, (piece + 1) * images); ++n) {
        for (int64_t g = 0; g < s.groups; ++g) {
          const T* source = x + (n * s.groups + g) * size.x_group;
          T* columns = pointwise ? nullptr : column_memory<T>(size.k * size.pixels);
          if (!pointwise) im2col(s, source, columns);
          gemm<T>(Transpose::no, Transpose::yes, size.out, size.k, size.pixels, T(1),
                  dy + (n * s.groups + g) * size.out * size.pixels, size.pixels,
                  pointwise ? source : columns, size.pixels, n == piece * images ? T(0) : T(1),
                  partial + piece * weights + g * size.out * size.k, size.k);
        }
      }
    }
  });
  for (int64_t piece = 0; piece < pieces; ++piece)
    for (int64_t i = 0; i < weights; ++i) dw[i] += partial[piece * weights + i];
}

template void conv2d(const Conv2dShape&, const float*, const float*, const float*, float*,
                     ConvPath);
template void conv2d(const Conv2dShape&, const double*, const double*, const double*, double*,
                     ConvPath);
template void conv2d_input(const Conv2dShape&, const float*, const float*, float*, ConvPath);
template void conv2d_input(const Conv2dShape&, const double*, const double*, double*, ConvPath);
template void conv2d_weight(const Conv2dShape&, const float*, const float*, float*, ConvPath);
template void conv2d_weight(const Conv2dShape&, const double*, const double*, double*, ConvPath);

}  // namespace gradus::kernels

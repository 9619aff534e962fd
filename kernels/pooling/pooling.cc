#include <gradus/base/error.h>
#include <gradus/kernels/pooling/naive.h>
#include <gradus/kernels/pooling/pooling.h>
#include <gradus/kernels/pooling/table.h>
#include <gradus/kernels/reduce/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/long_sum.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/windows.h>

#include <algorithm>
#include <cmath>

namespace gradus::kernels {

namespace {

int64_t output_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
                    bool ceil_mode) {
  const int64_t room = size + 2 * padding - dilation * (kernel - 1) - 1;
  if (room < 0) return 0;
  const int64_t count = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  const bool begins_outside = (count - 1) * stride >= size + padding;
  return ceil_mode && begins_outside ? count - 1 : count;
}

/// Whether every window has a place in the image. One that begins in the padding has none if its
/// dilation takes it across the image in one step.
bool windows_meet_image(int64_t size, int64_t outputs, int64_t stride, int64_t padding,
                        int64_t dilation) {
  if (dilation <= size) return true;  // else two taps at most fit in, and the loop is short
  for (int64_t i = 0; i < outputs && i * stride < padding; ++i) {
    const int64_t first_inside = ((i * stride - padding) % dilation + dilation) % dilation;
    if (first_inside >= size) return false;
  }
  return true;
}

/// f(plane) for each plane, spread over the threads by size.
template <class F>
void for_each_plane(int64_t planes, int64_t work, F f) {
  parallel_for(planes, per_grain(work + 1, kGrain), [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) f(plane);
  });
}

using naive::Range;

/// Elements that the windows of a plane read.
int64_t window_work(const Pool2dShape& s) {
  if (s.planes == 0) return 0;
  return s.output_height() * s.output_width() * std::min(s.kernel_h, s.height) *
         std::min(s.kernel_w, s.width);
}

/// The windows of a row that lie in the image's columns.
Range windows_inside(const Pool2dShape& s) {
  const int64_t outputs = s.output_width();
  const int64_t begin = std::min((s.padding_w + s.stride_w - 1) / s.stride_w, outputs);
  const int64_t room = s.width + s.padding_w - s.dilation_w * (s.kernel_w - 1) - 1;
  const int64_t end = room < 0 ? 0 : std::min(outputs, room / s.stride_w + 1);
  return {begin, std::max(begin, end)};
}

/// The windows of `inside` many at a time, the others one by one.
template <class T>
void max_plane(const Pool2dShape& s, Range inside, const T* x, T* y, int64_t* indices) {
  const int64_t height = s.output_height(), width = s.output_width(), in = s.height * s.width;
  const auto max_windows = kernels<PoolKernels<T>>().max_windows;
  for (int64_t i = 0; i < height; ++i, y += width, indices += width) {
    if (inside.begin < inside.end) {
      const int64_t top = i * s.stride_h - s.padding_h;
      const auto [p, end] = naive::taps_inside(top, s.kernel_h, s.dilation_h, s.height);
      const int64_t first =
          (top + p * s.dilation_h) * s.width + inside.begin * s.stride_w - s.padding_w;
      // What is written behind the row's windows is written again.
      max_windows({inside.end - inside.begin, end - p, s.kernel_w, s.dilation_h * s.width,
                   s.stride_w, first, x + first, in - first, (height - i) * width - inside.begin},
                  y + inside.begin, indices + inside.begin);
    }
    const auto alone = [&](int64_t j) { naive::max_window(s, x, i, j, y + j, indices + j); };
    for (int64_t j = 0; j < inside.begin; ++j) alone(j);
    for (int64_t j = inside.end; j < width; ++j) alone(j);
  }
}

/// The sum of a window of an image `width` wide, added up in blocks, the blocks in double.
template <class T>
double block_sum(Range rows, Range columns, int64_t width, const T* x) {
  const ReduceKernels<T>& table = kernels<ReduceKernels<T>>();
  if (columns.end - columns.begin == width)
    return table.sum((rows.end - rows.begin) * width, x + rows.begin * width);
  constexpr int64_t tile = 512;
  T sums[tile];
  double total = 0;
  for (int64_t j = columns.begin; j < columns.end; j += tile)
    for (int64_t i = rows.begin; i < rows.end; i += kSumRows) {
      const int64_t count = std::min(tile, columns.end - j);
      table.sum_block(std::min(kSumRows, rows.end - i), count, x + i * width + j, width, sums);
      total += table.sum(count, sums);
    }
  return total;
}

/// The mean of such a window as that of `count` values, where a sum leaves T.
template <class T>
[[gnu::noinline]] T mean_in_double(Range rows, Range columns, int64_t width, const T* x,
                                   int64_t count) {
  double sum = 0;
  for (int64_t h = rows.begin; h < rows.end; ++h)
    for (int64_t v = columns.begin; v < columns.end; ++v)
      sum += static_cast<double>(x[h * width + v]);
  return static_cast<T>(sum / static_cast<double>(count));
}

template <class T>
T window_mean(Range rows, Range columns, int64_t width, const T* x, int64_t count) {
  const auto mean = static_cast<T>(block_sum(rows, columns, width, x) / static_cast<double>(count));
  return std::isfinite(mean) ? mean : mean_in_double(rows, columns, width, x, count);
}

Range adaptive_range(int64_t i, int64_t size, int64_t outputs) {
  return {i * size / outputs, ((i + 1) * size + outputs - 1) / outputs};
}

/// The most elements that one output averages along an axis, or with the two exchanged, the most
/// outputs that average one element.
int64_t adaptive_terms(int64_t all, int64_t parts) {
  return ceil_div(all, parts) + (all % parts != 0);
}

/// Adds dx where windows overlap; elsewhere there is one term, which is dx.
template <class T, class Sum>
void adaptive_avg_plane_backward(int64_t height, int64_t width, int64_t output_height,
                                 int64_t output_width, bool overlap, const T* dy, Sum* dx) {
  if (overlap) std::fill_n(dx, height * width, Sum(0));
  for (int64_t i = 0; i < output_height; ++i) {
    const Range rows = adaptive_range(i, height, output_height);
    for (int64_t j = 0; j < output_width; ++j) {
      const Range columns = adaptive_range(j, width, output_width);
      const int64_t across = columns.end - columns.begin;
      const Sum share = Sum(*dy++) / Sum((rows.end - rows.begin) * across);
      Sum* row = dx + rows.begin * width + columns.begin;
      for (int64_t h = rows.begin; h < rows.end; ++h, row += width) {
        if (overlap)
          for (int64_t v = 0; v < across; ++v) row[v] += share;
        else
          for (int64_t v = 0; v < across; ++v) row[v] = share;
      }
    }
  }
}

}  // namespace

int64_t Pool2dShape::output_height() const {
  return output_size(height, kernel_h, stride_h, padding_h, dilation_h, ceil_mode);
}
int64_t Pool2dShape::output_width() const {
  return output_size(width, kernel_w, stride_w, padding_w, dilation_w, ceil_mode);
}

void check_pool2d(const char* op, const Pool2dShape& s) {
  check(s.kernel_h > 0 && s.kernel_w > 0 && s.stride_h > 0 && s.stride_w > 0 && s.dilation_h > 0 &&
            s.dilation_w > 0,
        "{}: kernel {}x{}, stride {}x{} and dilation {}x{} must be positive", op, s.kernel_h,
        s.kernel_w, s.stride_h, s.stride_w, s.dilation_h, s.dilation_w);
  check(within_reach({s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.padding_h, s.padding_w,
                      s.dilation_h, s.dilation_w}),
        "{}: kernel {}x{}, stride {}x{}, padding {}x{} or dilation {}x{} exceeds 2^31", op,
        s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.padding_h, s.padding_w, s.dilation_h,
        s.dilation_w);
  check(s.padding_h >= 0 && s.padding_w >= 0 && 2 * s.padding_h <= s.kernel_h &&
            2 * s.padding_w <= s.kernel_w,
        "{}: padding {}x{} must lie between 0 and half the kernel of {}x{}", op, s.padding_h,
        s.padding_w, s.kernel_h, s.kernel_w);
  check(s.output_height() > 0 && s.output_width() > 0,
        "{}: a window of {}x{} is larger than the image of {}x{} with padding {}x{}", op,
        s.kernel_h, s.kernel_w, s.height, s.width, s.padding_h, s.padding_w);
  check(windows_meet_image(s.height, s.output_height(), s.stride_h, s.padding_h, s.dilation_h) &&
            windows_meet_image(s.width, s.output_width(), s.stride_w, s.padding_w, s.dilation_w),
        "{}: with dilation {}x{} and padding {}x{} a window lies wholly outside the image of {}x{}",
        op, s.dilation_h, s.dilation_w, s.padding_h, s.padding_w, s.height, s.width);
}

const char* name(PoolPath path) {
  static constexpr const char* names[] = {"automatic", "one by one", "windows"};
  return names[static_cast<int>(path)];
}

bool applies(PoolPath path, const Pool2dShape& s) {
  return path != PoolPath::windows ||
         (s.stride_w <= 2 && s.dilation_w == 1 && s.height * s.width <= INT32_MAX);
}

PoolPath pool_path(const Pool2dShape& s) {
  return applies(PoolPath::windows, s) ? PoolPath::windows : PoolPath::one_by_one;
}

template <class T>
void max_pool2d(const Pool2dShape& s, const T* x, T* y, int64_t* indices, PoolPath path) {
  check_pool2d("max_pool2d", s);
  check(applies(path, s),
        "max_pool2d: the path {} cannot serve a stride of {} and a dilation of {}", name(path),
        s.stride_w, s.dilation_w);
  if (path == PoolPath::automatic) path = pool_path(s);
  const Range inside = path == PoolPath::windows ? windows_inside(s) : Range{0, 0};
  const int64_t in = s.height * s.width, out = s.output_height() * s.output_width();
  for_each_plane(s.planes, window_work(s), [&](int64_t p) {
    max_plane(s, inside, x + p * in, y + p * out, indices + p * out);
  });
}

/// f(shape of a single plane, plane) for each.
template <class F>
static void for_each_averaged(const Pool2dShape& s, F f) {
  Pool2dShape one = s;
  one.planes = 1;
  for_each_plane(s.planes, window_work(s), [&](int64_t p) { f(one, p); });
}

template <class T>
void avg_pool2d(const Pool2dShape& s, const T* x, T* y) {
  check_pool2d("avg_pool2d", s);
  const int64_t terms = std::min(s.kernel_h, s.height) * std::min(s.kernel_w, s.width);
  for_each_averaged(s, [&](const Pool2dShape& one, int64_t p) {
    const T* plane = x + p * one.x_size();
    T* means = y + p * one.y_size();
    if (terms <= kSumTerms) return naive::avg_pool2d(one, plane, means);
    naive::for_each_average(one, [&](Range rows, Range columns, int64_t k, int64_t counted) {
      means[k] = window_mean(rows, columns, one.width, plane, counted);
    });
  });
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, const T* dy, T* dx) {
  check_pool2d("avg_pool2d", s);
  const int64_t terms = std::min(ceil_div(s.kernel_h, s.stride_h), s.output_height()) *
                        std::min(ceil_div(s.kernel_w, s.stride_w), s.output_width());
  for_each_averaged(s, [&](const Pool2dShape& one, int64_t p) {
    add_up(terms, one.x_size(), dx + p * one.x_size(),
           [&](auto* sums) { naive::avg_pool2d_backward(one, dy + p * one.y_size(), sums); });
  });
}

template <class T>
void adaptive_avg_pool2d(int64_t planes, int64_t height, int64_t width, int64_t output_height,
                         int64_t output_width, const T* x, T* y) {
  const int64_t in = height * width, out = output_height * output_width;
  if (planes * in == 0) return;
  const int64_t terms = adaptive_terms(height, output_height) * adaptive_terms(width, output_width);
  const bool few = terms <= kSumTerms && output_width > 1;
  for_each_plane(planes, in, [&](int64_t p) {
    const T* plane = x + p * in;
    T* means = y + p * out;
    if (few)
      naive::adaptive_avg_pool2d(1, height, width, output_height, output_width, plane, means);
    if (few && std::all_of(means, means + out, [](T v) { return std::isfinite(v); })) return;
    for (int64_t k = 0; k < out; ++k) {
      const Range rows = adaptive_range(k / output_width, height, output_height),
                  columns = adaptive_range(k % output_width, width, output_width);
      const int64_t count = (rows.end - rows.begin) * (columns.end - columns.begin);
      if (!few)
        means[k] = window_mean(rows, columns, width, plane, count);
      else if (!std::isfinite(means[k]))
        means[k] = mean_in_double(rows, columns, width, plane, count);
    }
  });
}

template <class T>
void adaptive_avg_pool2d_backward(int64_t planes, int64_t height, int64_t width,
                                  int64_t output_height, int64_t output_width, const T* dy, T* dx) {
  const int64_t in = height * width, out = output_height * output_width;
  if (planes * in == 0) return;
  const int64_t terms = adaptive_terms(output_height, height) * adaptive_terms(output_width, width);
  for_each_plane(planes, in, [&](int64_t p) {
    add_up(terms, in, dx + p * in, [&](auto* sums) {
      adaptive_avg_plane_backward(height, width, output_height, output_width, terms > 1,
                                  dy + p * out, sums);
    });
  });
}

GRADUS_INSTANTIATE(max_pool2d<T>, avg_pool2d<T>, avg_pool2d_backward<T>, adaptive_avg_pool2d<T>,
                   adaptive_avg_pool2d_backward<T>)

}  // namespace gradus::kernels

#include <gradus/base/error.h>
#include <gradus/kernels/pooling/naive.h>
#include <gradus/kernels/pooling/pooling.h>
#include <gradus/kernels/pooling/table.h>
#include <gradus/kernels/reduce/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/windows.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

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

Pool2dShape single_plane(const Pool2dShape& s) {
  Pool2dShape one = s;
  one.planes = 1;
  return one;
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

// As many elements of a window that is not as wide as the image are added up one by one.
constexpr int64_t kFewTerms = 64;
constexpr int64_t kTileColumns = 512;  // of a larger one, added up in T

/// The sum of a window of an image `width` wide.
template <class T>
double sum_one_by_one(Range rows, Range columns, int64_t width, const T* x, double scale = 1) {
  double sum = 0;
  for (int64_t h = rows.begin; h < rows.end; ++h)
    for (int64_t v = columns.begin; v < columns.end; ++v)
      sum += scale * static_cast<double>(x[h * width + v]);
  return sum;
}

/// The same, added up in tiles, the tiles in double.
template <class T>
double sum_in_tiles(Range rows, Range columns, int64_t width, const T* x) {
  const ReduceKernels<T>& table = kernels<ReduceKernels<T>>();
  T sums[kTileColumns];
  double total = 0;
  for (int64_t j = columns.begin; j < columns.end; j += kTileColumns)
    for (int64_t i = rows.begin; i < rows.end; i += kSumRows) {
      const int64_t count = std::min(kTileColumns, columns.end - j);
      table.sum_block(std::min(kSumRows, rows.end - i), count, x + i * width + j, width, sums);
      total += table.sum(count, sums);
    }
  return total;
}

/// The same; a window of at most `terms` elements.
template <class T>
double sum_of_window(int64_t terms, Range rows, Range columns, int64_t width, const T* x) {
  if (columns.end - columns.begin == width)
    return kernels<ReduceKernels<T>>().sum((rows.end - rows.begin) * width, x + rows.begin * width);
  return terms <= kFewTerms ? sum_one_by_one(rows, columns, width, x)
                            : sum_in_tiles(rows, columns, width, x);
}

/// The mean of such a window as that of `count` values, where a sum leaves its type.
template <class T>
[[gnu::noinline]] T scaled_mean(Range rows, Range columns, int64_t width, const T* x,
                                int64_t count) {
  constexpr double scale = 0x1p-64, largest = scale * std::numeric_limits<double>::max();
  const double mean = sum_one_by_one(rows, columns, width, x, scale) / static_cast<double>(count);
  // What is finite has a finite mean, however that of the largest numbers was rounded.
  return static_cast<T>((std::isfinite(mean) ? std::clamp(mean, -largest, largest) : mean) / scale);
}

/// y = the mean of each window, of which for_each(f) tells f: rows, columns, place in y, and as
/// that of how many values. `terms`: the most elements of a window.
template <class T, class ForEach>
void average(int64_t terms, int64_t width, const T* x, T* y, ForEach for_each) {
  for_each([&](Range rows, Range columns, int64_t k, int64_t count) {
    const double sum = sum_of_window(terms, rows, columns, width, x);
    const auto mean = static_cast<T>(sum / static_cast<double>(count));
    y[k] = std::isfinite(mean) ? mean : scaled_mean(rows, columns, width, x, count);
  });
}

/// The adjoint: dx (size) = the sum of what each window sends, at most `terms` to an element.
template <class T, class ForEach>
void spread(int64_t terms, int64_t size, int64_t width, const T* dy, T* dx, ForEach for_each) {
  const auto add_up = [&]<class Sum>(Sum* sums) {
    std::fill_n(sums, size, Sum(0));
    for_each([&](Range rows, Range columns, int64_t k, int64_t count) {
      const Sum share = Sum(dy[k]) / Sum(count);
      const int64_t height = rows.end - rows.begin, across = columns.end - columns.begin;
      const bool whole_rows = across == width;  // which follow each other
      const int64_t runs = whole_rows ? 1 : height, run = whole_rows ? height * width : across;
      Sum* to = sums + rows.begin * width + columns.begin;
      for (int64_t h = 0; h < runs; ++h, to += width)
        for (int64_t v = 0; v < run; ++v) to[v] += share;
    });
  };
  if (terms <= 1 || std::is_same_v<T, double>) return add_up(dx);
  double* const sums = workspace<double, struct Shares>(size);
  add_up(sums);
  std::transform(sums, sums + size, dx, [](double sum) { return static_cast<T>(sum); });
}

Range adaptive_range(int64_t i, int64_t size, int64_t outputs) {
  return {i * size / outputs, ((i + 1) * size + outputs - 1) / outputs};
}

template <class F>
void for_each_adaptive_average(int64_t height, int64_t width, int64_t output_height,
                               int64_t output_width, F f) {
  for (int64_t i = 0, k = 0; i < output_height; ++i) {
    const Range rows = adaptive_range(i, height, output_height);
    for (int64_t j = 0; j < output_width; ++j, ++k) {
      const Range columns = adaptive_range(j, width, output_width);
      f(rows, columns, k, (rows.end - rows.begin) * (columns.end - columns.begin));
    }
  }
}

/// The most elements that one output averages along an axis, or with the two exchanged, the most
/// outputs that average one element.
int64_t adaptive_terms(int64_t all, int64_t parts) {
  return parts % all == 0 ? 1 : ceil_div(all, parts) + (all % parts != 0);
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

template <class T>
void avg_pool2d(const Pool2dShape& s, const T* x, T* y) {
  check_pool2d("avg_pool2d", s);
  const Pool2dShape one = single_plane(s);
  const int64_t in = one.x_size(), out = one.y_size();
  const int64_t terms = std::min(s.kernel_h, s.height) * std::min(s.kernel_w, s.width);
  for_each_plane(s.planes, window_work(s), [&](int64_t p) {
    average(terms, s.width, x + p * in, y + p * out,
            [&](auto f) { naive::for_each_average(one, f); });
  });
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, const T* dy, T* dx) {
  check_pool2d("avg_pool2d", s);
  const Pool2dShape one = single_plane(s);
  const int64_t in = one.x_size(), out = one.y_size();
  const int64_t terms = std::min(ceil_div(s.kernel_h, s.stride_h), s.output_height()) *
                        std::min(ceil_div(s.kernel_w, s.stride_w), s.output_width());
  for_each_plane(s.planes, window_work(s), [&](int64_t p) {
    spread(terms, in, s.width, dy + p * out, dx + p * in,
           [&](auto f) { naive::for_each_average(one, f); });
  });
}

template <class T>
void adaptive_avg_pool2d(int64_t planes, int64_t height, int64_t width, int64_t output_height,
                         int64_t output_width, const T* x, T* y) {
  const int64_t in = height * width, out = output_height * output_width;
  if (planes * in == 0) return;
  const int64_t terms = adaptive_terms(height, output_height) * adaptive_terms(width, output_width);
  for_each_plane(planes, in, [&](int64_t p) {
    average(terms, width, x + p * in, y + p * out, [&](auto f) {
      for_each_adaptive_average(height, width, output_height, output_width, f);
    });
  });
}

template <class T>
void adaptive_avg_pool2d_backward(int64_t planes, int64_t height, int64_t width,
                                  int64_t output_height, int64_t output_width, const T* dy, T* dx) {
  const int64_t in = height * width, out = output_height * output_width;
  if (planes * in == 0) return;
  const int64_t terms = adaptive_terms(output_height, height) * adaptive_terms(output_width, width);
  for_each_plane(planes, in, [&](int64_t p) {
    spread(terms, in, width, dy + p * out, dx + p * in, [&](auto f) {
      for_each_adaptive_average(height, width, output_height, output_width, f);
    });
  });
}

GRADUS_INSTANTIATE(max_pool2d<T>, avg_pool2d<T>, avg_pool2d_backward<T>, adaptive_avg_pool2d<T>,
                   adaptive_avg_pool2d_backward<T>)

}  // namespace gradus::kernels

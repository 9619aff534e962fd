// Normalization of runs: a channel of NCHW, a row. Sums run over blocks in T, the blocks' sums in
// f64; the order is fixed by the shape.

#include <gradus/kernels/norm/in_double.h>
#include <gradus/kernels/norm/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/flags.h>
#include <gradus/kernels/vector/lanes.h>
#include <gradus/kernels/vector/math.h>

namespace gradus::kernels {
namespace {

constexpr int64_t kBlockRows = 128;  // whose part of dw and db is summed in T
constexpr int64_t kAdditions = 64;   // to a lane of a block's sums, or equal terms add up errors

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/// A place in the mask, if there is one.
template <bool masked>
inline const bool* mask_at(const bool* valid, int64_t offset) {
  return masked ? valid + offset : nullptr;
}

/// Of one run, at most: for_each_vector adds kAdditions times to a lane.
template <class T>
constexpr int64_t kBlockColumns = kAdditions* kParts* kWidth<T>;

/// f(block, x offset, mask offset) over blocks of the runs: several short runs or a part of one. A
/// block is read twice, from the first cache.
template <class T, class F>
inline void for_each_block(const Runs& r, F f) {
  if (r.columns == 0) return;
  const int64_t columns = smaller(r.columns, kBlockColumns<T>),
                rows = larger(1, kAdditions / visits_of_a_part<T>(columns));
  for (int64_t i = 0; i < r.rows; i += rows)
    for (int64_t j = 0; j < r.columns; j += columns)
      f(Runs{smaller(rows, r.rows - i), smaller(columns, r.columns - j), r.stride, r.valid_stride},
        i * r.stride + j, i * r.valid_stride + j);
}

int64_t count_valid(const Runs& r, const bool* valid) {
  int64_t count = 0;
  for (int64_t i = 0; i < r.rows; ++i)
    for (int64_t j = 0; j < r.columns; ++j) count += valid[i * r.valid_stride + j];
  return count;
}

/// The sum of a block only has to give a number near the mean; what it misses is made up for.
template <class T, bool masked>
Moments block_moments(const Runs& r, const T* x, const bool* valid) {
  const auto count = static_cast<double>(masked ? count_valid(r, valid) : r.rows * r.columns);
  if (count == 0) return {};
  Sums<T> rough;
  for (int64_t i = 0; i < r.rows; ++i) {
    const T* p = x + i * r.stride;
    for_each_vector<T, masked>(r.columns, mask_at<masked>(valid, i * r.valid_stride),
                               [&](int64_t j, int k, auto lanes) GRADUS_INLINE {
                                 rough.parts[k] += lanes.keep(lanes.load(p + j));
                               });
  }
  const double each = 1 / count;
  const T near = static_cast<T>(rough.total() * each);
  Sums<T> sums, squares;
  for (int64_t i = 0; i < r.rows; ++i) {
    const T* p = x + i * r.stride;
    for_each_vector<T, masked>(r.columns, mask_at<masked>(valid, i * r.valid_stride),
                               [&](int64_t j, int k, auto lanes) GRADUS_INLINE {
                                 const Vector<T> v = lanes.keep(lanes.load(p + j) - near);
                                 sums.parts[k] += v;
                                 squares.parts[k] += v * v;
                               });
  }
  const double missed = sums.total(), deviation = missed * each;
  const double about = squares.total() - missed * deviation;
  return {count, static_cast<double>(near) + deviation, about < 0 ? 0 : about};
}

template <class T, bool masked>
GRADUS_INLINE inline Moments run_moments(const Runs& r, const T* x, const bool* valid) {
  if (r.rows == 1 && r.columns <= kBlockColumns<T>) return block_moments<T, masked>(r, x, valid);
  Moments total;
  for_each_block<T>(r, [&](const Runs& block, int64_t offset, int64_t valid_offset) GRADUS_INLINE {
    total = merged(
        total, block_moments<T, masked>(block, x + offset, mask_at<masked>(valid, valid_offset)));
  });
  return total;
}

/// max |x - mean|
template <class T>
T most_deviation(int64_t d, T mean, const T* x) {
  Vector<T> least = {}, most = {};
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
    const Vector<T> v = lanes.keep(lanes.load(x + j) - mean);
    least = v < least ? v : least;
    most = v > most ? v : most;
  });
  return horizontal_max(most > -least ? most : -least);
}

/// x - mean, the mean in two parts of T.
template <class T>
void centre(int64_t d, double mean, const T* x, T* to) {
  const T high = static_cast<T>(mean), low = static_cast<T>(mean - static_cast<double>(high));
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
    lanes.store(to + j, (lanes.load(x + j) - high) - low);
  });
}

/// What of dy passes.
template <bool relu, class T>
inline Vector<T> passing(const Affine<T>& f, Vector<T> centered, Vector<T> dy) {
  if constexpr (!relu) return dy;
  return centered * f.scale + f.shift <= 0 ? Vector<T>{} : dy;
}

// In the following f is a copy, so that what it holds stays in registers while memory is written.

template <class T, bool relu, bool masked, bool streamed>
void normalize_runs(const Runs& r, const Affine<T> f, const T* x, const bool* valid, T* y) {
  for (int64_t i = 0; i < r.rows; ++i) {
    const T* p = x + i * r.stride;
    T* to = y + i * r.stride;
    for_each_vector<T, masked>(r.columns, mask_at<masked>(valid, i * r.valid_stride),
                               [&](int64_t j, int, auto lanes) GRADUS_INLINE {
                                 Vector<T> v = (lanes.load(p + j) - f.mean) * f.scale + f.shift;
                                 if constexpr (relu) v = v < 0 ? Vector<T>{} : v;
                                 put<T, streamed>(lanes, to + j, lanes.keep(v));
                               });
  }
}

template <class T, bool relu, bool masked>
GradientSums run_gradient_sums(const Runs& r, const Affine<T> f, const T* x, const bool* valid,
                               const T* dy) {
  GradientSums total;
  for_each_block<T>(r, [&](const Runs& block, int64_t offset, int64_t valid_offset) GRADUS_INLINE {
    Sums<T> sums, products;
    for (int64_t i = 0; i < block.rows; ++i) {
      const T *p = x + offset + i * r.stride, *q = dy + offset + i * r.stride;
      for_each_vector<T, masked>(block.columns,
                                 mask_at<masked>(valid, valid_offset + i * r.valid_stride),
                                 [&](int64_t j, int k, auto lanes) GRADUS_INLINE {
                                   const Vector<T> v = lanes.load(p + j) - f.mean,
                                                   g = passing<relu>(f, v, lanes.load(q + j));
                                   sums.parts[k] += lanes.keep(g);
                                   products.parts[k] += lanes.keep(g * v);
                                 });
    }
    total.dy += sums.total();
    total.dy_x += products.total();
  });
  return total;
}

template <class T, bool relu, bool masked, bool streamed>
void run_gradient(const Runs& r, const GradientAffine<T> f, const T* x, const bool* valid,
                  const T* dy, T* dx) {
  for (int64_t i = 0; i < r.rows; ++i) {
    const T *p = x + i * r.stride, *q = dy + i * r.stride;
    T* to = dx + i * r.stride;
    for_each_vector<T, masked>(
        r.columns, mask_at<masked>(valid, i * r.valid_stride),
        [&](int64_t j, int, auto lanes) GRADUS_INLINE {
          const Vector<T> v = lanes.load(p + j) - f.y.mean,
                          g = passing<relu>(f.y, v, lanes.load(q + j));
          put<T, streamed>(lanes, to + j, lanes.keep((g - f.mean_dy - v * f.slope) * f.y.scale));
        });
  }
}

template <class T>
Moments moments(const Runs& r, const T* x, const bool* valid) {
  return with_flags([&](auto masked) { return run_moments<T, masked>(r, x, valid); }, valid);
}

template <class T>
void normalize(const Runs& r, const Affine<T>& f, const T* x, const bool* valid, T* y,
               bool streamed) {
  streamed = streamed && !valid && streamable(y, r.stride);
  with_flags(
      [&](auto relu, auto masked, auto past_caches) {
        normalize_runs<T, relu, masked, past_caches && !masked>(r, f, x, valid, y);
      },
      f.relu, valid, streamed);
  if (streamed) order_streams();
}

template <class T>
GradientSums gradient_sums(const Runs& r, const Affine<T>& f, const T* x, const bool* valid,
                           const T* dy) {
  return with_flags(
      [&](auto relu, auto masked) {
        return run_gradient_sums<T, relu, masked>(r, f, x, valid, dy);
      },
      f.relu, valid);
}

template <class T>
void gradient(const Runs& r, const GradientAffine<T>& f, const T* x, const bool* valid, const T* dy,
              T* dx, bool streamed) {
  streamed = streamed && !valid && streamable(dx, r.stride);
  with_flags(
      [&](auto relu, auto masked, auto past_caches) {
        run_gradient<T, relu, masked, past_caches && !masked>(r, f, x, valid, dy, dx);
      },
      f.y.relu, valid, streamed);
  if (streamed) order_streams();
}

template <class T>
void reciprocal_std(int64_t n, double eps, const T* __restrict var, T* __restrict rstd) {
  for (int64_t i = 0; i < n; ++i)
    rstd[i] = static_cast<T>(1 / math::sqrt(static_cast<double>(var[i]) + eps));
}

template <class T>
bool all_near(int64_t n, T eps, const T* mean, const T* rstd) {
  int others = 0;
  for (int64_t c = 0; c < n; ++c) others += !is_near(mean[c], rstd[c], eps);
  return others == 0;
}

template <class T>
bool all_ordinary(int64_t n, const T* rstd, const T* w, const T* dw, const T* db) {
  int others = 0;
  for (int64_t c = 0; c < n && w; ++c) others += !is_ordinary_map(T(0), rstd[c] * w[c], w[c]);
  for (int64_t c = 0; c < n && dw; ++c)
    others += !is_ordinary_gradient(db[c], dw[c], [] { return false; });
  return others == 0;
}

/// f(first element, lanes, xhat w + b) for each vector of a row.
template <class T, bool with_w, bool with_b, class F>
GRADUS_INLINE inline void for_each_affine(int64_t d, T mean, T rstd, const T* x, const T* w,
                                          const T* b, F f) {
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
    Vector<T> v = (lanes.load(x + j) - mean) * rstd;
    if constexpr (with_w) v *= lanes.load(w + j);
    if constexpr (with_b) v += lanes.load(b + j);
    f(j, lanes, v);
  });
}

template <class T, bool with_w, bool with_b, bool relu, bool streamed>
void normalize_row(int64_t d, T mean, T rstd, const T* x, const T* w, const T* b, T* y) {
  for_each_affine<T, with_w, with_b>(d, mean, rstd, x, w, b,
                                     [&](int64_t j, auto lanes, Vector<T> v) GRADUS_INLINE {
                                       if constexpr (relu) v = v < 0 ? Vector<T>{} : v;
                                       put<T, streamed>(lanes, y + j, v);
                                     });
}

/// What of a row's dy passes the relu behind it.
template <class T, bool with_w, bool with_b>
void pass_row(int64_t d, T mean, T rstd, const T* x, const T* w, const T* b, const T* dy, T* to) {
  for_each_affine<T, with_w, with_b>(d, mean, rstd, x, w, b,
                                     [&](int64_t j, auto lanes, Vector<T> v) GRADUS_INLINE {
                                       const Vector<T> g = lanes.load(dy + j);
                                       lanes.store(to + j, v <= 0 ? Vector<T>{} : g);
                                     });
}

/// The sum of d values, f(first element, lanes) giving a vector of them. Few are added up in T, or
/// with equal ones, whose roundings all go one way, it would be off by more than xhat may.
template <class T, class F>
GRADUS_INLINE inline double sum_of(int64_t d, F f) {
  double total = 0;
  for (int64_t first = 0; first < d; first += kBlockColumns<T>) {
    Sums<T> sums;
    for_each_vector<T, false>(smaller(kBlockColumns<T>, d - first), nullptr,
                              [&](int64_t j, int part, auto lanes)
                                  GRADUS_INLINE { sums.parts[part] += f(first + j, lanes); });
    total += sums.total();
  }
  return total;
}

template <class T>
[[gnu::noinline]] double sum_of_squares(int64_t d, const T* x) {
  return sum_of<T>(d, [&](int64_t j, auto lanes) GRADUS_INLINE {
    const Vector<T> v = lanes.load(x + j);
    return v * v;
  });
}

/// A weight and a bias for each element of a row.
template <class T>
NormInput<T> for_each_element(const Rows& r, const NormInput<T>& in, T* spread) {
  if (r.inner == 1) return in;
  NormInput<T> each = in;
  for (const T** weight : {&each.w, &each.b}) {
    if (!*weight) continue;
    for (int64_t j = 0; j < r.d; j += r.inner)
      for (int64_t k = 0; k < r.inner; ++k) spread[j + k] = (*weight)[j / r.inner];
    *weight = spread;
    spread += r.d;
  }
  return each;
}

/// The same row the slow way; m and reciprocal become what it finds.
template <class T>
[[gnu::noinline]] void row_norm_in_double(const Rows& r, int64_t at, double eps,
                                          const NormInput<T>& in, T& m, T& reciprocal, T* y) {
  const NormGroup<T> group = row_group(r, at, in);
  const GroupStats<T> stats = stats_in_double(group, eps);
  m = static_cast<T>(stats.mean);
  reciprocal = static_cast<T>(stats.rstd);
  normalize_in_double(group, stats, y + at);
}

template <class T>
void row_norm(const Rows& r, double eps, const NormInput<T>& in, T* spread, T* y, T* mean, T* rstd,
              bool streamed) {
  streamed = streamed && streamable(y, r.d);
  const NormInput<T> each = for_each_element(r, in, spread);
  const auto normalize = with_flags([](auto... flags) { return normalize_row<T, flags...>; }, in.w,
                                    in.b, in.relu, streamed);
  int steep = 0;
  for (int64_t j = 0; in.w && j < r.d / r.inner; ++j) steep += is_steep(in.w[j]);
  for (int64_t i = r.begin; i < r.end; ++i) {
    const int64_t row = i * r.groups, at = row * r.d;
    T m = 0, reciprocal = 0;
    if (!in.valid || in.valid[i]) {
      const Moments moments = r.centred
                                  ? run_moments<T, false>({1, r.d, r.d, r.d}, in.x + at, nullptr)
                                  : Moments{0, 0, sum_of_squares(r.d, in.x + at)};
      m = static_cast<T>(moments.mean);
      reciprocal = static_cast<T>(1 / math::sqrt(moments.squares / static_cast<double>(r.d) + eps));
      if (steep == 0 && is_near(m, reciprocal, static_cast<T>(eps))) {
        normalize(r.d, m, reciprocal, in.x + at, each.w, each.b, y + at);
      } else if (sizeof(T) == sizeof(float) && steep == 0 &&
                 is_ordinary(m, reciprocal, static_cast<T>(eps))) {
        centre(r.d, moments.mean, in.x + at, y + at);
        normalize(r.d, T(0), reciprocal, y + at, each.w, each.b, y + at);
      } else {
        row_norm_in_double(r, at, eps, in, m, reciprocal, y);
      }
    } else {
      for (int64_t j = 0; j < r.d; ++j) y[at + j] = 0;
    }
    if (mean) mean[row] = m;
    if (rstd) rstd[row] = reciprocal;
  }
  if (streamed) order_streams();
}

/// sum g and sum g (x - mean), g = w dy.
template <class T, bool with_w>
GradientSums row_gradient_sums(int64_t d, T mean, const T* x, const T* w, const T* dy) {
  GradientSums total;
  for (int64_t first = 0; first < d; first += kBlockColumns<T>) {
    Sums<T> sums, products;
    for_each_vector<T, false>(smaller(kBlockColumns<T>, d - first), nullptr,
                              [&](int64_t k, int part, auto lanes) GRADUS_INLINE {
                                const int64_t j = first + k;
                                Vector<T> g = lanes.load(dy + j);
                                if constexpr (with_w) g *= lanes.load(w + j);
                                sums.parts[part] += g;
                                products.parts[part] += lanes.keep(g * (lanes.load(x + j) - mean));
                              });
    total.dy += sums.total();
    total.dy_x += products.total();
  }
  return total;
}

/// What the gradient of one row needs.
template <class T>
struct RowGradient {
  int64_t at;  // of the row in x
  T mean, rstd, mean_dy, slope;
};

/// dx of `count` rows, and their part of the sums over rows. Streamed, a row's cache line is
/// written whole before the next row's.
template <class T, int count, bool with_w, bool with_dx, bool with_sums, bool streamed>
void row_gradients(int64_t d, const RowGradient<T>* rows, const T* x, const T* w, const T* dy,
                   T* dx, T* dw, T* db) {
  const auto columns = [&](int64_t first, auto vectors, auto lanes) GRADUS_INLINE {
    constexpr int n = decltype(vectors)::value;
    Vector<T> scale[n] = {}, weight_sum[n] = {}, sum[n] = {};
    unroll<n>([&](int i) GRADUS_INLINE {
      if constexpr (with_w) scale[i] = lanes.load(w + first + i * kWidth<T>);
    });
    unroll<count * n>([&](int index) GRADUS_INLINE {
      const int i = index % n;
      const RowGradient<T>& row = rows[index / n];
      const int64_t at = row.at + first + i * kWidth<T>;
      const Vector<T> g = lanes.load(dy + at), v = lanes.load(x + at) - row.mean;
      if constexpr (with_sums) weight_sum[i] += g * (v * row.rstd), sum[i] += g;
      if constexpr (with_dx) {
        const Vector<T> wg = with_w ? g * scale[i] : g;
        put<T, streamed>(lanes, dx + at, (wg - row.mean_dy - v * row.slope) * row.rstd);
      }
    });
    unroll<n>([&](int i) GRADUS_INLINE {
      const int64_t j = first + i * kWidth<T>;
      if constexpr (with_sums) {
        lanes.store(dw + j, lanes.load(dw + j) + weight_sum[i]);
        lanes.store(db + j, lanes.load(db + j) + sum[i]);
      }
    });
  };
  using One = std::integral_constant<int, 1>;
  using Line = std::integral_constant<int, 64 / kVectorBytes>;
  int64_t j = 0;
  if constexpr (streamed)
    for (; j + Line::value * kWidth<T> <= d; j += Line::value * kWidth<T>)
      columns(j, Line{}, AllLanes<T>{});
  for_each_vector<T, false>(d - j, nullptr, [&](int64_t k, int, auto lanes) GRADUS_INLINE {
    columns(j + k, One{}, lanes);
  });
}

/// The row of x less its mean, in `to`.
template <class T>
[[gnu::noinline]] const T* centre_again(int64_t d, const T* x, T* to) {
  centre(d, run_moments<T, false>({1, d, d, d}, x, nullptr).mean, x, to);
  return to;
}

/// A row's gradients the slow way, if all that they are made of are numbers.
template <class T>
[[gnu::noinline]] bool row_gradient_in_double(const Rows& r, int64_t at, double eps,
                                              const NormInput<T>& in, const T* dy, T* dx,
                                              const RowSums<T>& sums) {
  const NormGroup<T> group = row_group(r, at, in);
  if (!are_finite(group, dy + at)) return false;
  gradient_in_double(group, stats_in_double(group, eps), true, dy + at, dx ? dx + at : nullptr,
                     sums.dw, sums.db);
  return true;
}

/// So many values of a gradient are looked at first, with the square root of the row's length for
/// its largest xhat, which none exceeds.
constexpr int64_t kGlance = 8;

/// Whether T carries dx of a row, whose terms may cancel: of r = g - mean(g) - xhat mean(g xhat)
/// one is so large that what rounding adds to the terms is small beside it. They are off by some
/// 2^-22 of themselves, xhat by what a mean that is rounded adds. mean_gx: mean(g xhat); x, dy: the
/// row's, as it passes.
template <class T>
[[gnu::noinline]] bool is_clear(int64_t d, const RowGradient<T>& row, T mean_gx, const T* x,
                                const T* w, const T* dy) {
  const T root = static_cast<T>(math::sqrt(static_cast<double>(d))), g = magnitude(row.mean_dy),
          gx = magnitude(mean_gx), off = magnitude(row.mean * row.rstd) / 8;
  const auto shows = [&](int64_t n, T most_xhat) {
    const T least = (g + most_xhat * gx) * T(0x1p-6) + off * (most_xhat * g + gx);
    for (int64_t j = 0; j < n; ++j) {
      const T wg = w ? w[j] * dy[j] : dy[j];
      if (magnitude(wg - row.mean_dy - (x[j] - row.mean) * row.slope) >= least) return true;
    }
    return false;
  };
  return shows(smaller(d, kGlance), root) || shows(d, most_deviation(d, row.mean, x) * row.rstd);
}

/// What gradients of rows are made of. `each`: in with a weight for each element.
template <class T>
struct RowsInput {
  const Rows& r;
  double eps;
  const NormInput<T>&in, &each;
  T* centred;
  const T *mean, *rstd, *dy;
};

/// What row i is to be finished with: its x, or the same in memory, less its mean, and `row`; null
/// if its gradient is there. With relu, what of dy
/// passes it is written to dx first, and read from there.
template <class T, bool with_w, bool with_dx>
[[gnu::noinline]] const T* begin_row(const RowsInput<T>& of, int64_t i, T* dx, const RowSums<T>& to,
                                     RowGradient<T>& row) {
  const Rows& r = of.r;
  const NormInput<T>&in = of.in, &each = of.each;
  const int64_t at = i * r.groups * r.d;
  if (in.valid && !in.valid[i]) {
    for (int64_t j = 0; j < r.d && with_dx; ++j) dx[at + j] = 0;
    return nullptr;
  }
  const T m = r.centred ? of.mean[i * r.groups] : T(0), reciprocal = of.rstd[i * r.groups],
          eps = static_cast<T>(of.eps);
  const auto in_double = [&] { return row_gradient_in_double(r, at, of.eps, in, of.dy, dx, to); };
  const T* x = in.x + at;
  row = {at, m, reciprocal, 0, 0};
  if (!is_near(m, reciprocal, eps)) {
    if (sizeof(T) == sizeof(float) && is_ordinary(m, reciprocal, eps))
      x = centre_again(r.d, x, of.centred), row.mean = 0;
    else if (in_double())
      return nullptr;
  }
  if (in.relu)
    with_flags([](auto... flags) { return pass_row<T, flags...>; }, in.w, in.b)(
        r.d, row.mean, reciprocal, x, each.w, each.b, of.dy + at, dx + at);
  if constexpr (with_dx) {
    const T* g = in.relu ? dx + at : of.dy + at;
    const GradientSums sums = row_gradient_sums<T, with_w>(r.d, row.mean, x, each.w, g);
    const double scale = static_cast<double>(reciprocal), share = 1 / static_cast<double>(r.d);
    const auto is_zero = [&] {
      for (int64_t j = 0; j < r.d; ++j)
        if (g[j] != 0 && !(with_w && each.w[j] == 0)) return false;
      return true;
    };
    const T product = static_cast<T>(sums.dy_x * scale);
    row.mean_dy = r.centred ? static_cast<T>(sums.dy * share) : T(0);
    row.slope = static_cast<T>(sums.dy_x * share * scale * scale);
    bool carried = is_ordinary_gradient(static_cast<T>(sums.dy), product, is_zero);
    if constexpr (sizeof(T) == sizeof(float))
      carried = carried && is_clear(r.d, row, product * static_cast<T>(share), x,
                                    with_w ? each.w : nullptr, g);
    if (!carried && in_double()) return nullptr;
  }
  return x;
}

template <class T, bool with_w, bool with_dx, bool with_sums, bool streamed>
void rows_gradient(const RowsInput<T>& of, int64_t begin, int64_t end, T* dx,
                   const RowSums<T>& to) {
  constexpr int together = 4;  // rows that share what is loaded of w, dw and db
  const Rows& r = of.r;
  const T *x = of.in.x, *passed = of.in.relu ? dx : of.dy;
  T *dw = to.block, *db = with_sums ? dw + r.d : nullptr;
  RowGradient<T> pending[together];
  const auto finish = [&](RowGradient<T> row, const T* from) __attribute__((noinline)) {
    const int64_t at = row.at;
    row.at = 0;
    row_gradients<T, 1, with_w, with_dx, with_sums, streamed>(
        r.d, &row, from, of.each.w, passed + at, with_dx ? dx + at : nullptr, dw, db);
  };
  int count = 0;
  for (int64_t i = begin; i < end; ++i) {
    RowGradient<T>& row = pending[count];
    const T* from = begin_row<T, with_w, with_dx>(of, i, dx, to, row);
    if (!from) continue;
    if (from == of.centred) {
      finish(row, from);
      continue;
    }
    if (++count < together) continue;
    row_gradients<T, together, with_w, with_dx, with_sums, streamed>(r.d, pending, x, of.each.w,
                                                                     passed, dx, dw, db);
    count = 0;
  }
  for (int k = 0; k < count; ++k) finish(pending[k], x + pending[k].at);
}

/// Adds sums for each element of a row to those for its weights.
template <class T>
void add_to_weights(const Rows& r, const T* sums, double* to) {
  if (r.inner == 1) return add_to(r.d, sums, to);
  for (int64_t j = 0; j < r.d; j += r.inner)
    *to++ += sum_of<T>(
        r.inner, [&](int64_t k, auto lanes) GRADUS_INLINE { return lanes.load(sums + j + k); });
}

template <class T>
void row_norm_backward(const Rows& r, double eps, const NormInput<T>& in, T* spread, T* centred,
                       const T* mean, const T* rstd, const T* dy, T* dx, const RowSums<T>& sums,
                       bool streamed) {
  streamed = streamed && dx && !in.relu && streamable(dx, r.d);
  const bool with_sums = sums.dw;
  if (!dx && !with_sums) return;
  const auto run = with_flags(
      [](auto with_w, auto with_dx, auto sums_too, auto past_caches) {
        return rows_gradient<T, (with_w && with_dx), with_dx, (sums_too || !with_dx),
                             (past_caches && with_dx)>;
      },
      in.w, dx, with_sums, streamed);
  const NormInput<T> each = for_each_element(r, in, spread);
  const RowsInput<T> of{r, eps, in, each, centred, mean, rstd, dy};
  const int64_t step = with_sums ? kBlockRows : r.end - r.begin;
  for (int64_t i = r.begin; i < r.end; i += step) {
    for (int64_t j = 0; j < 2 * r.d && with_sums; ++j) sums.block[j] = 0;
    run(of, i, smaller(i + step, r.end), dx, sums);
    if (!with_sums) continue;
    add_to_weights(r, sums.block, sums.dw);
    add_to_weights(r, sums.block + r.d, sums.db);
  }
  if (streamed) order_streams();
}

template <class T>
constexpr NormKernels<T> kTable = {moments<T>,      normalize<T>,      gradient_sums<T>,
                                   gradient<T>,     reciprocal_std<T>, all_near<T>,
                                   all_ordinary<T>, row_norm<T>,       row_norm_backward<T>};

}  // namespace

GRADUS_TABLES(NormKernels, kTable)

}  // namespace gradus::kernels

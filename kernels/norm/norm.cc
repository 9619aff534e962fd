#include <gradus/kernels/norm/in_double.h>
#include <gradus/kernels/norm/norm.h>
#include <gradus/kernels/norm/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/streamed.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>
#include <utility>

namespace gradus::kernels {
namespace {

constexpr int64_t kPiece = 1 << 16;  // of a channel, and of columns, that threads may share

int64_t numel(const Channels& s) { return s.outer * s.channels * s.inner; }

/// A single channel is one run whatever its axes.
Channels simplified(const Channels& s) {
  return s.channels == 1 ? Channels{1, 1, s.outer * s.inner} : s;
}
bool in_columns(const Channels& s) { return s.inner == 1 && s.channels > 1; }

/// Some of a channel's values: runs, and where they begin in x and in the mask.
struct Piece {
  Runs runs;
  int64_t at, valid_at;
};

/// How a channel's values are cut: whole runs, or stretches of long ones.
class Cut {
 public:
  explicit Cut(const Channels& s)
      : s_(s),
        columns_(std::clamp<int64_t>(s.inner, 1, kPiece)),
        rows_(kPiece / columns_),
        column_pieces_(ceil_div(s.inner, columns_)),
        count_(ceil_div(s.outer, rows_) * column_pieces_) {}

  int64_t count() const { return count_; }
  Piece piece(int64_t channel, int64_t index) const {
    const int64_t row = index / column_pieces_ * rows_, column = index % column_pieces_ * columns_;
    return {{std::min(rows_, s_.outer - row), std::min(columns_, s_.inner - column),
             s_.channels * s_.inner, s_.inner},
            (row * s_.channels + channel) * s_.inner + column,
            row * s_.inner + column};
  }

 private:
  Channels s_;
  int64_t columns_, rows_, column_pieces_, count_;
};

/// part = first(channel, piece) of every piece; combine(channel, parts, count) of every channel;
/// then(channel, piece) of every piece: all at once for a channel that is one piece.
template <class Part, class First, class Combine, class Then>
void sweep_channels(const Channels& s, First first, Combine combine, Then then) {
  const Cut cut(s);
  const int64_t n = cut.count();
  if (n == 1) {
    parallel_for_rows(s.channels, s.outer * s.inner, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const Piece piece = cut.piece(c, 0);
        const Part part = first(c, piece);
        combine(c, &part, int64_t{1});
        then(c, piece);
      }
    });
    return;
  }
  Part* parts = workspace<Part, struct Parts>(s.channels * n);
  parallel_for(s.channels * n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) parts[k] = first(k / n, cut.piece(k / n, k % n));
  });
  for (int64_t c = 0; c < s.channels; ++c) combine(c, parts + c * n, n);
  parallel_for(s.channels * n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) then(k / n, cut.piece(k / n, k % n));
  });
}

/// body(first row, rows, piece) over pieces of rows of columns.
int64_t rows_of_piece(const Channels& s) {
  constexpr int64_t fewest = 128;
  return std::max(fewest, kPiece / s.channels);
}
template <class Body>
void for_row_pieces(const Channels& s, Body body) {
  const int64_t rows = rows_of_piece(s);
  parallel_for(ceil_div(s.outer, rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) body(p * rows, std::min(rows, s.outer - p * rows), p);
  });
}

const bool* from(const bool* valid, int64_t at) { return valid ? valid + at : nullptr; }

/// finish(channel, moments) for every channel, then(channel, piece) for all its pieces.
template <class T, class Finish, class Then>
void channel_stats(const Channels& s, const NormInput<T>& in, Finish finish, Then then) {
  const auto moments = kernels<NormKernels<T>>().moments;
  sweep_channels<Moments>(
      s,
      [&](int64_t, const Piece& p) {
        return moments(p.runs, in.x + p.at, from(in.valid, p.valid_at));
      },
      [&](int64_t c, const Moments* parts, int64_t n) {
        Moments total;
        for (int64_t k = 0; k < n; ++k) total = merged(total, parts[k]);
        finish(c, total);
      },
      then);
}

/// Means, then sums of squared deviations, of the columns, and how many values each has.
struct ColumnMoments {
  const double *means, *squares;
  int64_t count;
};

template <class T>
ColumnMoments column_moments(const Channels& s, const NormInput<T>& in) {
  const ColumnNormKernels<T>& table = kernels<ColumnNormKernels<T>>();
  const int64_t columns = s.channels, n = std::max<int64_t>(1, ceil_div(s.outer, rows_of_piece(s)));
  double* parts = workspace<double, struct Parts>(2 * n * columns);
  int64_t* counts = workspace<int64_t, struct Parts>(n);
  std::fill_n(parts, 2 * columns, 0.0);
  counts[0] = 0;
  for_row_pieces(s, [&](int64_t row, int64_t rows, int64_t p) {
    double* part = parts + 2 * p * columns;
    counts[p] = table.moments(rows, columns, in.x + row * columns, from(in.valid, row), part,
                              part + columns);
  });
  for (int64_t p = 1; p < n; ++p) {
    const double* other = parts + 2 * p * columns;
    table.merge(columns, counts[0], parts, parts + columns, counts[p], other, other + columns);
    counts[0] += counts[p];
  }
  return {parts, parts + columns, counts[0]};
}

double variance(const Moments& m) { return m.count > 0 ? m.squares / m.count : 0; }

/// What all channels' normalization is made of.
template <class T>
struct Transform {
  const NormInput<T>& in;
  const T *mean, *rstd;
  const T* low = nullptr;  // what rounding left of the means, where a norm needs it, else 0

  T weight(int64_t c) const { return in.w ? in.w[c] : T(1); }
  T scale(int64_t c) const { return in.w ? rstd[c] * in.w[c] : rstd[c]; }
  bool in_two(int64_t c) const { return low && low[c] != 0; }
  T shift(int64_t c) const {
    const T b = in.b ? in.b[c] : T(0);
    return in_two(c) ? b - low[c] * scale(c) : b;
  }
  Affine<T> at(int64_t c) const { return {mean[c], scale(c), shift(c), in.relu}; }
  /// In memory of the calling thread.
  ColumnAffine<T> of_columns(int64_t columns) const {
    T *scale = workspace<T, struct PerColumn>(2 * columns), *shift = scale + columns;
    for (int64_t c = 0; c < columns; ++c) scale[c] = this->scale(c);
    if (low)
      for (int64_t c = 0; c < columns; ++c) shift[c] = this->shift(c);
    else if (in.b)
      std::copy_n(in.b, columns, shift);
    else
      std::fill_n(shift, columns, T(0));
    return {mean, scale, shift, in.relu};
  }
};

template <class T>
GradientAffine<T> gradient_affine(const Transform<T>& f, int64_t c, T dw, T db, int64_t count) {
  if (count == 0) return {f.at(c), 0, 0};
  const T n = static_cast<T>(count), slope = dw / n * f.rstd[c];
  return {f.at(c), f.in_two(c) ? db / n - f.low[c] * slope : db / n, slope};
}

/// db and dw.
template <class T>
void set_sums(const Transform<T>& f, int64_t c, const GradientSums& sums,
              const NormGradients<T>& to) {
  const double dy_x = f.in_two(c) ? sums.dy_x - static_cast<double>(f.low[c]) * sums.dy : sums.dy_x;
  if (to.db) to.db[c] = static_cast<T>(sums.dy);
  if (to.dw) to.dw[c] = static_cast<T>(dy_x * static_cast<double>(f.rstd[c]));
}

template <class T>
T low_mean(double mean, T rounded, T rstd, T eps) {
  return is_near(rounded, rstd, eps) ? T(0) : static_cast<T>(mean - static_cast<double>(rounded));
}

/// Transform's, of x again.
template <class T>
[[gnu::cold, gnu::noinline]] const T* low_means(const Channels& s, T eps, const NormInput<T>& in,
                                                const T* mean, const T* rstd) {
  T* low = workspace<T, struct LowMeans>(s.channels);
  if (in_columns(s)) {
    const double* means = column_moments(s, in).means;
    for (int64_t c = 0; c < s.channels; ++c) low[c] = low_mean(means[c], mean[c], rstd[c], eps);
    return low;
  }
  const Cut cut(s);
  const auto moments = kernels<NormKernels<T>>().moments;
  parallel_for_rows(s.channels, s.outer * s.inner, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      Moments total;  // as channel_stats has it
      for (int64_t k = 0; k < cut.count() && !is_near(mean[c], rstd[c], eps); ++k) {
        const Piece p = cut.piece(c, k);
        total = merged(total, moments(p.runs, in.x + p.at, from(in.valid, p.valid_at)));
      }
      low[c] = low_mean(total.mean, mean[c], rstd[c], eps);
    }
  });
  return low;
}

/// A channel's elements.
Runs channel_runs(const Channels& s) { return {s.outer, s.inner, s.channels * s.inner, s.inner}; }

/// Whether f(place from the runs' first element on, place in the mask) holds of one of their
/// elements.
template <class F>
bool any_of(const Runs& r, F f) {
  for (int64_t i = 0; i < r.rows; ++i)
    for (int64_t j = 0; j < r.columns; ++j)
      if (f(i * r.stride + j, i * r.valid_stride + j)) return true;
  return false;
}

/// Whether f32 carries a channel whose mean and rstd are x's own, and one where they are constants.
template <class T>
bool is_ordinary_channel(const Transform<T>& f, int64_t c, T eps) {
  const bool stats = is_ordinary(f.mean[c], f.rstd[c], eps),
             map = is_ordinary_map(T(0), f.scale(c), f.weight(c));
  return stats & map;
}
template <class T>
bool is_ordinary_constant(const Transform<T>& f, int64_t c) {
  return is_ordinary_map(f.mean[c], f.scale(c), f.weight(c));
}
/// The same, and its gradient with these sums.
template <class T>
bool is_ordinary_backward(const Channels& s, bool channel, const bool* valid, const T* dy,
                          const NormGradients<T>& sums, int64_t c) {
  return channel && is_ordinary_gradient(sums.db[c], sums.dw[c], [&] {
           const T* g = dy + c * s.inner;
           return !any_of(channel_runs(s),
                          [&](int64_t j, int64_t k) { return g[j] != 0 && !(valid && !valid[k]); });
         });
}

constexpr int64_t kColumnsOfBlock = 16;  // a cache line of f32, at most

/// The `others` among neighbouring columns, one after another, `stride` apart.
template <class T>
struct ColumnBlock {
  ColumnBlock(const Channels& s, const bool* others, int64_t first, int64_t end, int64_t apart)
      : rows(s.outer), columns(s.channels), stride(apart) {
    for (int64_t c = first; c < end; ++c)
      if (others[c]) channels[count++] = c;
  }
  template <class F>
  void for_each(F f) const {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t k = 0; k < count; ++k) f(i * columns + channels[k], k * stride + i);
  }
  void copy(const T* from, T* block) const {
    if (from) for_each([&](int64_t at, int64_t place) { block[place] = from[at]; });
  }
  void copy_back(const T* block, T* to) const {
    if (to) for_each([&](int64_t at, int64_t place) { to[at] = block[place]; });
  }
  int64_t rows, columns, stride, count = 0, channels[kColumnsOfBlock];
};

/// redo(channel, its elements, its dy, its place in out) for each of the channels in `others`; dy
/// and out may be null.
template <class T>
using Redo = std::function<void(int64_t, const NormGroup<T>&, const T*, T*)>;
template <class T>
[[gnu::noinline]] void in_double(const Channels& s, const NormInput<T>& in, const T* dy, T* out,
                                 const bool* others, const Redo<T>& redo) {
  if (std::none_of(others, others + s.channels, [](bool other) { return other; })) return;
  const auto redo_at = [&](int64_t c, const Runs& runs, const T* x, const T* g, T* to) {
    const T *w = in.w ? in.w + c : nullptr, *b = in.b ? in.b + c : nullptr;
    redo(c, {runs, x, in.valid, w, b, runs.columns, in.relu}, g, to);
  };
  const auto from_at = [](auto* all, int64_t at) { return all ? all + at : nullptr; };
  if (!in_columns(s)) {
    parallel_for_rows(s.channels, s.outer * s.inner, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c)
        if (others[c])
          redo_at(c, channel_runs(s), in.x + c * s.inner, from_at(dy, c * s.inner),
                  from_at(out, c * s.inner));
    });
    return;
  }
  // Columns share cache lines, and rows far apart compete for the same ones, as those of the copies
  // would but for what is between them.
  constexpr int64_t most_values = 1 << 18;
  const int64_t n = s.outer,
                width =
                    std::clamp<int64_t>(most_values / std::max<int64_t>(n, 1), 1, kColumnsOfBlock),
                stride = n + kColumnsOfBlock;
  parallel_for_rows(
      ceil_div(s.channels, width), n * width, kGrain, [&](int64_t begin, int64_t end) {
        T *x = workspace<T, struct Copies>(3 * stride * width), *g = x + stride * width,
          *to = g + stride * width;
        for (int64_t first = begin * width; first < std::min(end * width, s.channels);
             first += width) {
          const ColumnBlock<T> block(s, others, first, std::min(first + width, s.channels), stride);
          if (block.count == 0) continue;
          block.copy(in.x, x);
          block.copy(dy, g);
          block.copy(out, to);
          for (int64_t k = 0; k < block.count; ++k)
            redo_at(block.channels[k], {1, n, n, n}, x + k * stride, dy ? g + k * stride : nullptr,
                    out ? to + k * stride : nullptr);
          block.copy_back(to, out);
        }
      });
}

/// Memory for which channels are not ordinary.
template <class Ordinary>
bool* others_of(int64_t channels, Ordinary ordinary) {
  bool* others = workspace<bool, struct Others>(channels);
  for (int64_t c = 0; c < channels; ++c) others[c] = !ordinary(c);
  return others;
}

/// A channel's gradients; dx may be null.
template <class T>
void redo_gradient(int64_t c, const NormGroup<T>& group, const GroupStats<T>& stats, bool training,
                   const T* dy, T* dx, const NormGradients<T>& to) {
  double dw = 0, db = 0;
  if (!are_finite(group, dy)) return;
  gradient_in_double(group, stats, training, dy, dx, &dw, &db);
  to.dw[c] = static_cast<T>(dw);
  to.db[c] = static_cast<T>(db);
}

template <class T>
GroupStats<T> constants(const Transform<T>& f, int64_t c) {
  return {static_cast<Wide<T>>(f.mean[c]), 0, static_cast<Wide<T>>(f.rstd[c])};
}

template <class T>
void normalize_columns(const Channels& s, const Transform<T>& f, T* y) {
  const ColumnAffine<T> columns = f.of_columns(s.channels);
  const auto normalize = kernels<ColumnNormKernels<T>>().normalize;
  parallel_for_rows(s.outer, s.channels, kGrain, [&](int64_t begin, int64_t end) {
    normalize(end - begin, s.channels, columns, f.in.x + begin * s.channels,
              from(f.in.valid, begin), y + begin * s.channels);
  });
}

/// dx in columns, of sums over `count` values.
template <class T>
void column_gradient(const Channels& s, const Transform<T>& f, const T* dy, int64_t count,
                     const NormGradients<T>& to) {
  const ColumnAffine<T> columns = f.of_columns(s.channels);
  T *mean_dy = workspace<T, struct PerColumnOfGradient>(2 * s.channels),
    *slope = mean_dy + s.channels;
  for (int64_t c = 0; c < s.channels; ++c) {
    const GradientAffine<T> g = gradient_affine(f, c, to.dw[c], to.db[c], count);
    mean_dy[c] = g.mean_dy;
    slope[c] = g.slope;
  }
  const auto gradient = kernels<ColumnNormKernels<T>>().gradient;
  parallel_for_rows(s.outer, s.channels, kGrain, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * s.channels;
    gradient(end - begin, s.channels, columns, mean_dy, slope, f.in.x + at, from(f.in.valid, begin),
             dy + at, to.dx + at);
  });
}

template <class T>
void column_sums(const Channels& s, const Transform<T>& f, const T* dy,
                 const NormGradients<T>& to) {
  const ColumnAffine<T> affine = f.of_columns(s.channels);
  const auto kernel = kernels<ColumnNormKernels<T>>().gradient_sums;
  const int64_t columns = s.channels, n = std::max<int64_t>(1, ceil_div(s.outer, rows_of_piece(s)));
  double* parts = workspace<double, struct Parts>(2 * n * columns);
  std::fill_n(parts, 2 * n * columns, 0.0);
  for_row_pieces(s, [&](int64_t row, int64_t rows, int64_t p) {
    double* sums = parts + 2 * p * columns;
    kernel(rows, columns, affine, f.in.x + row * columns, from(f.in.valid, row), dy + row * columns,
           sums, sums + columns);
  });
  for (int64_t p = 1; p < n; ++p)
    for (int64_t j = 0; j < 2 * columns; ++j) parts[j] += parts[2 * p * columns + j];
  for (int64_t c = 0; c < columns; ++c) set_sums(f, c, {parts[c], parts[columns + c]}, to);
}

/// dw and db of channels that are runs, then dx if it is wanted, of sums over `count` values.
template <class T>
void run_backward(const Channels& s, const Transform<T>& f, const T* dy, int64_t count,
                  const NormGradients<T>& to) {
  const NormKernels<T>& table = kernels<NormKernels<T>>();
  const T* x = f.in.x;
  const bool* valid = f.in.valid;
  const auto gradient = [&](int64_t c, const Piece& p) {
    if (!to.dx) return;
    table.gradient(p.runs, gradient_affine(f, c, to.dw[c], to.db[c], count), x + p.at,
                   from(valid, p.valid_at), dy + p.at, to.dx + p.at, streamed<T>(numel(s)));
  };
  sweep_channels<GradientSums>(
      s,
      [&](int64_t c, const Piece& p) {
        return table.gradient_sums(p.runs, f.at(c), x + p.at, from(valid, p.valid_at), dy + p.at);
      },
      [&](int64_t c, const GradientSums* parts, int64_t n) {
        GradientSums total;
        for (int64_t k = 0; k < n; ++k) total.dy += parts[k].dy, total.dy_x += parts[k].dy_x;
        set_sums(f, c, total, to);
      },
      gradient);
}

/// The calling thread's memory for f32 numbers as doubles.
class WideMemory {
 public:
  explicit WideMemory(int64_t count)
      : next_(workspace<double, WideMemory>(count)), end_(next_ + count) {}
  double* take(int64_t count) {
    assert(count <= end_ - next_);
    return std::exchange(next_, next_ + count);
  }
  /// A copy, null of null.
  const double* of(const float* from, int64_t count) {
    return from ? copy(count, [=](int64_t i) { return from[i]; }) : nullptr;
  }
  /// from(0), from(1), ...
  template <class From>
  const double* copy(int64_t count, From from) {
    double* const to = take(count);
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<double>(from(i));
    return to;
  }

 private:
  double *next_, *end_;
};

/// then(channel, piece) for every piece.
template <class Then>
void for_each_piece(const Channels& s, Then then) {
  const Cut cut(s);
  const int64_t n = cut.count(), size = n > 1 ? kGrain : s.outer * s.inner;
  parallel_for_rows(s.channels * n, size, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) then(k / n, cut.piece(k / n, k % n));
  });
}

}  // namespace

int64_t count_valid(const Channels& s, const bool* valid) {
  const int64_t n = s.outer * s.inner;
  return valid ? std::count(valid, valid + n, true) : n;
}

template <class T>
void batch_norm_rstd(int64_t channels, double eps, const T* var, T* rstd) {
  kernels<NormKernels<T>>().rstd(channels, eps, var, rstd);
}

template <class T>
void batch_norm_normalize(const Channels& shape, const NormInput<T>& in, const T* mean,
                          const T* rstd, T* y) {
  const Channels s = simplified(shape);
  const Transform<T> f{in, mean, rstd};
  if (in_columns(s)) {
    normalize_columns(s, f, y);
  } else {
    const auto normalize = kernels<NormKernels<T>>().normalize;
    for_each_piece(s, [&](int64_t c, const Piece& p) {
      normalize(p.runs, f.at(c), in.x + p.at, from(in.valid, p.valid_at), y + p.at,
                streamed<T>(numel(s)));
    });
  }
  in_double<T>(s, in, nullptr, y,
               others_of(s.channels, [&](int64_t c) { return is_ordinary_constant(f, c); }),
               [&](int64_t c, const NormGroup<T>& group, const T*, T* to) {
                 normalize_in_double(group, constants(f, c), to);
               });
}

template <class T>
void batch_norm(const Channels& shape, double eps, const NormInput<T>& in, T* y, T* mean, T* var,
                T* rstd) {
  const Channels s = simplified(shape);
  const T own_eps = static_cast<T>(eps);
  T* low = workspace<T, struct LowMeans>(s.channels);
  const Transform<T> f{in, mean, rstd, low};
  if (in_columns(s)) {
    const ColumnMoments m = column_moments(s, in);
    const double each = m.count > 0 ? 1 / static_cast<double>(m.count) : 0;
    for (int64_t c = 0; c < s.channels; ++c) mean[c] = static_cast<T>(m.means[c]);
    for (int64_t c = 0; c < s.channels; ++c) var[c] = static_cast<T>(m.squares[c] * each);
    batch_norm_rstd(s.channels, eps, var, rstd);
    std::fill_n(low, s.channels, T(0));
    if (!kernels<NormKernels<T>>().all_near(s.channels, own_eps, mean, rstd))
      for (int64_t c = 0; c < s.channels; ++c)
        low[c] = low_mean(m.means[c], mean[c], rstd[c], own_eps);
    normalize_columns(s, f, y);
  } else {
    const auto normalize = kernels<NormKernels<T>>().normalize;
    channel_stats(
        s, in,
        [&](int64_t c, const Moments& m) {
          mean[c] = static_cast<T>(m.mean);
          var[c] = static_cast<T>(variance(m));
          batch_norm_rstd(1, eps, var + c, rstd + c);
          low[c] = low_mean(m.mean, mean[c], rstd[c], own_eps);
        },
        [&](int64_t c, const Piece& p) {
          normalize(p.runs, f.at(c), in.x + p.at, from(in.valid, p.valid_at), y + p.at,
                    streamed<T>(numel(s)));
        });
  }
  const NormKernels<T>& table = kernels<NormKernels<T>>();
  if (table.all_near(s.channels, own_eps, mean, rstd) &&
      table.all_ordinary(s.channels, rstd, in.w, nullptr, nullptr))
    return;
  in_double<T>(s, in, nullptr, y,
               others_of(s.channels, [&](int64_t c) { return is_ordinary_channel(f, c, own_eps); }),
               [&](int64_t c, const NormGroup<T>& group, const T*, T* to) {
                 const GroupStats<T> stats = stats_in_double(group, eps);
                 if (!is_ordinary(mean[c], rstd[c], own_eps)) {
                   mean[c] = static_cast<T>(stats.mean);
                   var[c] = static_cast<T>(stats.var);
                   rstd[c] = static_cast<T>(stats.rstd);
                 }
                 normalize_in_double(group, stats, to);
               });
}

/// batch_norm_backward of channels with `count` valid values, few, whose terms mostly cancel: in
/// f64, of these values alone.
static void few_values_backward(const Channels& s, int64_t count, double eps,
                                const NormInput<float>& in, const float* dy,
                                const NormGradients<float>& to) {
  int64_t places[kFewValues], found = 0;  // in channel 0
  for (int64_t k = 0; k < s.outer * s.inner && found < count; ++k)
    if (!in.valid || in.valid[k])
      places[found++] = k / s.inner * s.channels * s.inner + k % s.inner;
  if (in.valid != nullptr) std::fill_n(to.dx, numel(s), 0.0F);
  const int64_t most = std::min(s.channels, kGrain / count);
  parallel_for(ceil_div(s.channels, most), 1, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * most; first < std::min(end * most, s.channels); first += most) {
      const int64_t n = std::min(most, s.channels - first);
      const auto place = [&](int64_t i) { return places[i / n] + (first + i % n) * s.inner; };
      WideMemory memory(3 * count * n + 7 * n);
      const NormInput<double> wide{
          memory.copy(count * n, [&](int64_t i) { return in.x[place(i)]; }), nullptr,
          memory.of(in.w ? in.w + first : nullptr, n), memory.of(in.b ? in.b + first : nullptr, n),
          in.relu};
      const double* g = memory.copy(count * n, [&](int64_t i) { return dy[place(i)]; });
      double *mean = memory.take(n), *var = memory.take(n), *rstd = memory.take(n),
             *dx = memory.take(count * n), *dw = memory.take(n), *db = memory.take(n);
      const Channels values{count, n, 1};
      batch_norm<double>(values, eps, wide, dx, mean, var, rstd);
      batch_norm_backward<double>(values, eps, wide, mean, rstd, g, {dx, dw, db});
      for (int64_t i = 0; i < count * n; ++i) to.dx[place(i)] = static_cast<float>(dx[i]);
      for (int64_t c = 0; c < n && to.dw; ++c) to.dw[first + c] = static_cast<float>(dw[c]);
      for (int64_t c = 0; c < n && to.db; ++c) to.db[first + c] = static_cast<float>(db[c]);
    }
  });
}

template <class T>
void batch_norm_backward(const Channels& shape, double eps, const NormInput<T>& in, const T* mean,
                         const T* rstd, const T* dy, const NormGradients<T>& to) {
  const Channels s = simplified(shape);
  const int64_t count = to.dx ? count_valid(s, in.valid) : 0;
  if constexpr (sizeof(T) == sizeof(float))
    if (0 < count && count <= kFewValues && s.channels > 0)
      return few_values_backward(s, count, eps, in, dy, to);
  const T own_eps = static_cast<T>(eps);
  const NormKernels<T>& table = kernels<NormKernels<T>>();
  const bool near = table.all_near(s.channels, own_eps, mean, rstd);
  const T* low = nullptr;
  if constexpr (sizeof(T) == sizeof(float))
    if (!near) low = low_means(s, own_eps, in, mean, rstd);
  const Transform<T> f{in, mean, rstd, low};
  T* sums = workspace<T, struct ChannelSums>(2 * s.channels);
  const NormGradients<T> all{to.dx, to.dw ? to.dw : sums, to.db ? to.db : sums + s.channels};
  if (in_columns(s)) {
    column_sums(s, f, dy, all);
    if (to.dx) column_gradient(s, f, dy, count, all);
  } else {
    run_backward(s, f, dy, count, all);
  }
  if (near && table.all_ordinary(s.channels, rstd, in.w, all.dw, all.db)) return;
  in_double<T>(s, in, dy, to.dx,
               others_of(s.channels,
                         [&](int64_t c) {
                           return is_ordinary_backward(s, is_ordinary_channel(f, c, own_eps),
                                                       in.valid, dy, all, c);
                         }),
               [&](int64_t c, const NormGroup<T>& group, const T* g, T* dx) {
                 redo_gradient(c, group, stats_in_double(group, eps), true, g, dx, all);
               });
}

template <class T>
void batch_norm_backward_eval(const Channels& shape, const NormInput<T>& in, const T* mean,
                              const T* rstd, const T* dy, const NormGradients<T>& to) {
  if (to.dw || to.db) {
    const Channels s = simplified(shape);
    const NormInput<T> values{in.x, in.valid};
    const Transform<T> f{values, mean, rstd};
    T* sums = workspace<T, struct ChannelSums>(2 * s.channels);
    const NormGradients<T> all{nullptr, to.dw ? to.dw : sums, to.db ? to.db : sums + s.channels};
    in_columns(s) ? column_sums(s, f, dy, all) : run_backward<T>(s, f, dy, 0, all);
    in_double<T>(s, values, dy, nullptr,
                 others_of(s.channels,
                           [&](int64_t c) {
                             return is_ordinary_backward(s, is_ordinary_constant(f, c), in.valid,
                                                         dy, all, c);
                           }),
                 [&](int64_t c, const NormGroup<T>& group, const T* g, T* none) {
                   redo_gradient(c, group, constants(f, c), false, g, none, all);
                 });
  }
  if (!to.dx) return;
  T* zero = workspace<T, struct ChannelSums>(shape.channels);
  std::fill_n(zero, shape.channels, T(0));
  batch_norm_normalize<T>(shape, {dy, in.valid, in.w}, zero, rstd, to.dx);
}

namespace {

Rows rows_of(const NormRows& s, int64_t begin, int64_t end) {
  return {begin, end, s.d, s.groups, s.inner, s.centred};
}

template <class T>
NormInput<T> of_group(const NormRows& s, int64_t group, NormInput<T> in) {
  const int64_t weight = group * (s.d / s.inner);
  in.x += group * s.d;
  if (in.w) in.w += weight;
  if (in.b) in.b += weight;
  return in;
}

/// body(first sample, samples' end, group) over pieces of `piece` samples of each group, in their
/// order. Short rows come few at a time, so that those beside them in memory come soon.
template <class Body>
void for_each_group(const NormRows& s, int64_t piece, Body body) {
  constexpr int64_t few = 8;
  const auto of_piece = [&](int64_t p, int64_t group, int64_t groups_end) {
    const int64_t end = std::min((p + 1) * piece, s.samples),
                  step = groups_end - group > 1 ? few : piece;
    for (int64_t i = p * piece; i < end; i += step)
      for (int64_t g = group; g < groups_end; ++g) body(i, std::min(i + step, end), g);
  };
  const int64_t units = ceil_div(s.samples, piece) * s.groups;
  parallel_for(units, per_grain(piece * s.d, kGrain), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end;) {
      const int64_t group = k % s.groups, count = std::min(s.groups - group, end - k);
      of_piece(k / s.groups, group, group + count);
      k += count;
    }
  });
}

template <class T>
T* spread_memory(const NormRows& s) {
  return s.inner > 1 ? workspace<T, struct Spread>(2 * s.d) : nullptr;
}

}  // namespace

template <class T>
void row_norm(const NormRows& s, double eps, const NormInput<T>& in, T* y, T* mean, T* rstd) {
  const auto kernel = kernels<NormKernels<T>>().row_norm;
  const int64_t size = s.groups * s.d;
  for_each_group(s, per_grain(size, kGrain), [&](int64_t begin, int64_t end, int64_t group) {
    kernel(rows_of(s, begin, end), eps, of_group(s, group, in), spread_memory<T>(s),
           y + group * s.d, mean ? mean + group : nullptr, rstd ? rstd + group : nullptr,
           streamed<T>(s.samples * size));
  });
}

template <class T>
static bool all_finite(int64_t n, const T* x) {
  return !x || std::all_of(x, x + n, [](T v) { return std::isfinite(v); });
}

/// dw and db where T's sums of some rows overflow; sums: memory for (2, weights).
template <class T>
static void row_sums_in_double(const NormRows& s, double eps, const NormInput<T>& in, const T* dy,
                               const NormGradients<T>& to, double* sums) {
  const int64_t weights = s.weights();
  std::fill_n(sums, 2 * weights, 0.0);
  for (int64_t k = 0; k < s.samples * s.groups; ++k) {
    const int64_t group = k % s.groups, at = k / s.groups * s.groups * s.d;
    if (in.valid && !in.valid[k / s.groups]) continue;
    const NormGroup<T> row = row_group(rows_of(s, 0, 1), at, of_group(s, group, in));
    double* const dw = sums + group * (s.d / s.inner);
    gradient_in_double<T>(row, stats_in_double(row, eps), true, dy + k * s.d, nullptr, dw,
                          dw + weights);
  }
  const auto put = [&](T* to_sums, const double* from) {  // columns apart stay as they are
    for (int64_t j = 0; j < weights && to_sums; ++j)
      if (!std::isfinite(to_sums[j])) to_sums[j] = static_cast<T>(from[j]);
  };
  put(to.dw, sums);
  put(to.db, sums + weights);
}

/// The row kernel's row_norm_backward of samples begin .. end - 1, for rows of few values, whose
/// terms mostly cancel: in f64.
static void few_values_backward(const NormRows& s, int64_t begin, int64_t end, double eps,
                                const NormInput<float>& in, const float* dy, float* dx, double* dw,
                                double* db) {
  const NormKernels<double>& table = kernels<NormKernels<double>>();
  const int64_t d = s.d, stride = s.groups * d, weights = d / s.inner, most = kGrain / d;
  WideMemory memory(2 * weights + 5 * d + most * (3 * d + 2));
  const double *w = memory.of(in.w, weights), *b = memory.of(in.b, weights);
  double *spread = memory.take(2 * d), *centred = memory.take(d), *sums = memory.take(2 * d);
  for (int64_t first = begin; first < end; first += most) {
    const int64_t rows = std::min(most, end - first), n = rows * d;
    const auto place = [=](int64_t i) {
      return stride == d ? first * d + i : (first + i / d) * stride + i % d;
    };
    WideMemory of_block = memory;
    const NormInput<double> wide{of_block.copy(n, [&](int64_t i) { return in.x[place(i)]; }),
                                 from(in.valid, first), w, b, in.relu};
    const double* g = of_block.copy(n, [&](int64_t i) { return dy[place(i)]; });
    double *to = of_block.take(n), *mean = of_block.take(rows), *rstd = of_block.take(rows);
    const Rows r{0, rows, d, 1, s.inner, s.centred};
    table.row_norm(r, eps, wide, spread, to, mean, rstd, false);
    table.row_norm_backward(r, eps, wide, spread, centred, mean, rstd, g, to, {dw, db, sums},
                            false);
    for (int64_t i = 0; i < n; ++i) dx[place(i)] = static_cast<float>(to[i]);
  }
}

template <class T>
void row_norm_backward(const NormRows& s, double eps, const NormInput<T>& in, const T* mean,
                       const T* rstd, const T* dy, const NormGradients<T>& to) {
  const auto kernel = kernels<NormKernels<T>>().row_norm_backward;
  const bool with_sums = to.dw || to.db;
  // Few sums over pieces of samples, of a few samples each, or with long rows there would be as
  // many sums as elements.
  constexpr int64_t most_pieces = 64, fewest_samples = 4;
  const int64_t size = s.groups * s.d, weights = s.weights(),
                piece = std::max({per_grain(size, kGrain), ceil_div(s.samples, most_pieces),
                                  std::min(fewest_samples, s.samples)}),
                n = ceil_div(s.samples, piece);
  double* parts = with_sums ? workspace<double, struct Parts>(2 * n * weights) : nullptr;
  for_each_group(s, piece, [&](int64_t begin, int64_t end, int64_t group) {
    const int64_t at = group * s.d, channels = s.d / s.inner;
    RowSums<T> sums{};
    if (with_sums) {
      sums.dw = parts + 2 * (begin / piece) * weights + group * channels;
      sums.db = sums.dw + weights;
      sums.block = workspace<T, struct OfRows>(2 * s.d);
      if (begin % piece == 0) {
        std::fill_n(sums.dw, channels, 0.0);
        std::fill_n(sums.db, channels, 0.0);
      }
    }
    if constexpr (sizeof(T) == sizeof(float))
      if (to.dx && 0 < s.d && s.d <= kFewValues)
        return few_values_backward(s, begin, end, eps, of_group(s, group, in), dy + at, to.dx + at,
                                   sums.dw, sums.db);
    kernel(rows_of(s, begin, end), eps, of_group(s, group, in), spread_memory<T>(s),
           workspace<T, struct Centred>(s.d), mean ? mean + group : nullptr, rstd + group, dy + at,
           to.dx ? to.dx + at : nullptr, sums, streamed<T>(s.samples * size));
  });
  if (!with_sums) return;
  parallel_for_rows(weights, 2 * n, kGrain, [&](int64_t begin, int64_t end) {
    const auto add_up = [&](double* sums, T* total) {
      if (!total) return;
      for (int64_t p = 1; p < n; ++p)
        for (int64_t j = begin; j < end; ++j) sums[j] += sums[2 * p * weights + j];
      for (int64_t j = begin; j < end; ++j)
        total[j] = n == 0 ? T(0) : static_cast<T>(sums[j]);  // of no rows
    };
    add_up(parts, to.dw);
    add_up(parts + weights, to.db);
  });
  if (!(all_finite(weights, to.dw) && all_finite(weights, to.db)))
    row_sums_in_double(s, eps, in, dy, to, parts);
}

GRADUS_INSTANTIATE(batch_norm_rstd<T>, batch_norm_normalize<T>, batch_norm<T>,
                   batch_norm_backward<T>, batch_norm_backward_eval<T>, row_norm<T>,
                   row_norm_backward<T>)

}  // namespace gradus::kernels

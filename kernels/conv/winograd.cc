// 3x3 convolution with stride 1 in the transformed domain of winograd.simd.cc: a block of
// tiles at a time, transform, multiply for each of the 36 points, transform back.
//
//   y:   m_p (tiles, out) = v_p (tiles, in) u_p (in, out)
//   dx:  the same with dy and rotated weights, in and out having changed places
//   dw:  du_p (out, in) = sum over the tiles of dm_p^T v_p

#include <gradus/kernels/conv/paths.h>
#include <gradus/kernels/conv/table.h>
#include <gradus/kernels/gemm/gemm.h>

#include <atomic>
#include <bit>
#include <cmath>

namespace gradus::kernels {
namespace {

// Enough rows for a product, few enough that a block's matrices stay in the caches.
constexpr int64_t kBlockTiles = 48;

// Weights that a thread transforms, and gradients of theirs that it adds up.
constexpr int64_t kWeightGrain = 1 << 10, kGradientGrain = 1 << 12;

// How many powers of two an output's field may lie below its tile's largest pixel, if so many
// channels are added up at a time: the more, the larger the errors that the pixel leaves there, if
// all err alike (docs/decisions/convolution_errors.md). Where no field lies far below, sums are
// long; short ones serve the others.
constexpr int64_t kLongSum = 128, kShortSum = 32;
int powers_for(int64_t summed) {
  return summed <= 8 ? 6 : summed <= 16 ? 5 : summed <= 32 ? 4 : summed <= 64 ? 2 : 1;
}

const WinogradKernels& table() { return kernels<WinogradKernels>(); }

/// One group of images (channels, height, width), `image` floats apart, with zeros around them.
struct Images {
  int64_t channels, height, width, image, padding_h, padding_w;
};

Images x_images(const Conv2dShape& s, int64_t padding_h, int64_t padding_w) {
  return {s.group_in(), s.height, s.width, s.in_channels * s.height * s.width,
          padding_h,    padding_w};
}
Images y_images(const Conv2dShape& s, int64_t padding_h, int64_t padding_w) {
  const int64_t height = s.output_height(), width = s.output_width();
  return {s.group_out(), height, width, s.out_channels * height * width, padding_h, padding_w};
}

/// The 4x4 tiles of outputs of height x width, in runs along a row of tiles.
struct Tiles {
  Tiles(int64_t batch, int64_t height, int64_t width)
      : per_row(ceil_div(width, 4)),
        runs_per_row(ceil_div(per_row, kMaxRun)),
        run(ceil_div(per_row, runs_per_row)),
        rows(ceil_div(height, 4)),
        runs(batch * rows * runs_per_row),
        runs_per_block(std::max<int64_t>(1, kBlockTiles / run)) {}

  /// f(run, where its image begins, first channel, tiles of runs before) for the runs begin .. end
  /// - 1, along each plane before the next; returns the number of tiles.
  template <class F>
  int64_t for_each(int64_t begin, int64_t end, const Images& of, F f) const {
    int64_t before = 0;
    for (int64_t c = 0; c < of.channels; c += kChannels) {
      before = 0;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % runs_per_row * run, count = std::min(run, per_row - first);
        f(TileRun{std::min(kChannels, of.channels - c), of.height, of.width,
                  4 * (i / runs_per_row % rows) - of.padding_h, 4 * first - of.padding_w, count},
          i / (rows * runs_per_row) * of.image + c * of.height * of.width, c, before);
        before += count;
      }
    }
    return before;
  }
  int64_t in_block() const { return runs_per_block * run; }

  int64_t per_row, runs_per_row, run, rows, runs, runs_per_block;
};

/// The sizes of 36 matrices (rows, channels): a cache line more than a round distance apart.
struct Layout {
  Layout(int64_t rows, int64_t channels)
      : columns(ceil_div(channels, table().width) * table().width),
        row(ceil_div(channels, kChannels) * kChannels),
        point(rows * row + kChannels) {}
  int64_t size() const { return 36 * point; }
  Points<float> at(float* data) const { return {data, row, point}; }
  int64_t columns;  // that hold something: whole vectors
  int64_t row, point;
};

/// The matrices from a row and a column on.
template <class T>
Points<T> from(Points<T> p, int64_t row, int64_t column) {
  p.data += row * p.row + column;
  return p;
}

/// c_p = op(a_p) b_p + beta c_p for each point p; op(a_p) (m, k), b_p (k, n).
void multiply(Transpose ta, int64_t m, int64_t n, int64_t k, Points<const float> a,
              Points<const float> b, float beta, Points<float> c) {
  for (int p = 0; p < 36; ++p)
    gemm_uncut<float>({ta, Transpose::no, m, n, k, 1, a.data + p * a.point, a.row,
                       b.data + p * b.point, b.row, beta, c.data + p * c.point, c.row});
}

/// m_p = v_p u_p for each point p, `summed` channels after the others; v_p (tiles, in), u_p (in,
/// out).
void multiply_channels(int64_t tiles, int64_t out, int64_t in, int64_t summed,
                       Points<const float> v, Points<const float> u, Points<float> m) {
  for (int64_t c = 0; c < in; c += summed)
    multiply(Transpose::no, tiles, out, std::min(summed, in - c), from(v, 0, c), from(u, c, 0),
             c == 0 ? 0 : 1, m);
}

/// Calls f(run, where its image begins, its first place in a list of all tiles, number of tiles
/// before) for the runs begin .. end - 1, all channels at once.
template <class F>
void for_each_run(const Tiles& tiles, int64_t begin, int64_t end, Images of, F f) {
  const int64_t channels = of.channels;
  of.channels = 1;
  int64_t first = begin * tiles.run;
  tiles.for_each(begin, end, of, [&](TileRun run, int64_t image, int64_t, int64_t before) {
    run.channels = channels;
    f(run, image, first, before);
    first += tiles.run;
  });
}

/// v = the transforms of all of a run's channels.
void transform_channels(TileRun run, const float* x, Points<float> v) {
  const int64_t channels = run.channels, plane = run.height * run.width;
  for (int64_t c = 0; c < channels; c += kChannels) {
    run.channels = std::min(kChannels, channels - c);
    table().input(run, x + c * plane, from(v, 0, c));
  }
}

/// y = x correlated with the weights that u (in, out) holds, plus bias. Returns which outputs of
/// each tile have to be computed again, as inspect() tells; null if none.
const uint16_t* correlate(int64_t batch, const Images& in, const Images& out, const float* x,
                          Points<const float> u, const float* bias, float* y) {
  const Tiles tiles(batch, out.height, out.width);
  const Layout v_layout(tiles.in_block(), in.channels), m_layout(tiles.in_block(), out.channels);
  uint16_t* const hostile = workspace<uint16_t, struct Hostile>(tiles.runs * tiles.run);
  std::atomic<bool> found = false;
  const int near = powers_for(std::min(in.channels, kLongSum)),
            apart = powers_for(std::min(in.channels, kShortSum));
  parallel_for(tiles.runs, tiles.runs_per_block, [&](int64_t begin, int64_t end) {
    float* const memory = workspace<float, struct ForwardBlock>(v_layout.size() + m_layout.size());
    const Points<float> v = v_layout.at(memory), m = m_layout.at(memory + v_layout.size());
    uint16_t zero[kBlockTiles];
    int32_t pixels[kSeenPixels];
    Reach reach = Reach::near;
    int64_t count = 0;
    for_each_run(tiles, begin, end, in,
                 [&](const TileRun& run, int64_t image, int64_t first, int64_t before) {
                   const int64_t i = run.top + in.padding_h, j = run.left + in.padding_w;
                   const Outputs outputs{std::min<int64_t>(4, out.height - i),
                                         std::min(4 * run.tiles, out.width - j)};
                   const bool below = before > 0 && tiles.runs_per_row == 1 && i > 0;
                   reach =
                       std::max(reach, table().inspect(run, outputs, x + image, below, near, apart,
                                                       pixels, zero + before, hostile + first));
                   transform_channels(run, x + image, from(v, before, 0));
                   count = before + run.tiles;
                 });
    if (reach == Reach::hostile) found = true;
    const int64_t summed = reach == Reach::near ? kLongSum : kShortSum;
    multiply_channels(count, m_layout.columns, in.channels, summed, v, u, m);
    tiles.for_each(
        begin, end, out, [&](const TileRun& run, int64_t image, int64_t c, int64_t tile) {
          table().output(run, from(m, tile, c), bias ? bias + c : nullptr, zero + tile, y + image);
        });
  });
  return found ? hostile : nullptr;
}

/// Outputs of one plane, and patches of x that they see, for a product with all weights.
class Patches {
 public:
  static constexpr int64_t kMost = 64;

  Patches(const Images& in, const Images& out)
      : in_(in), out_(out), taps_(9 * in.channels), plane_(out.height * out.width) {
    patches_ = workspace<float, struct PatchMemory>((taps_ + out.channels) * kMost);
    sums_ = patches_ + taps_ * kMost;
  }

  bool full() const { return count_ == kMost; }

  /// The output at (i, j) of the image that begins at x, and in y `to` elements from the first.
  void add(const float* x, int64_t i, int64_t j, int64_t to) {
    to_[count_] = to + i * out_.width + j;
    float* const patch = patches_ + taps_ * count_++;
    const int64_t top = i - in_.padding_h, left = j - in_.padding_w;
    if (top >= 0 && top + 3 <= in_.height && left >= 0 && left + 3 <= in_.width)
      return copy(x + top * in_.width + left, patch, [](int64_t, int64_t) { return true; });
    copy(x + top * in_.width + left, patch, [&](int64_t p, int64_t q) {
      return top + p >= 0 && top + p < in_.height && left + q >= 0 && left + q < in_.width;
    });
  }

  /// y of the outputs that were added; define(its place) where it is not finite.
  template <class Define>
  void finish(const float* w, const float* bias, float* y, Define define) {
    gemm_uncut<float>({Transpose::no, Transpose::no, count_, out_.channels, taps_, 1, patches_,
                       taps_, w, out_.channels, 0, sums_, out_.channels});
    const float* sum = sums_;
    for (int64_t k = 0; k < count_; ++k)
      for (int64_t o = 0; o < out_.channels; ++o, ++sum) {
        const int64_t at = o * plane_ + to_[k];
        y[at] = *sum + (bias ? bias[o] : 0);
        if (!std::isfinite(y[at])) define(at);
      }
    count_ = 0;
  }

 private:
  /// The 3x3 pixels from x on of each channel, 0 for those that are not inside(p, q).
  template <class Inside>
  void copy(const float* x, float* patch, Inside inside) {
    for (int64_t c = 0; c < in_.channels; ++c, x += in_.height * in_.width)
      for (int64_t p = 0; p < 3; ++p)
        for (int64_t q = 0; q < 3; ++q, ++patch) *patch = inside(p, q) ? x[p * in_.width + q] : 0;
  }

  const Images &in_, &out_;
  int64_t taps_, plane_, count_ = 0, to_[kMost];
  float *patches_, *sums_;
};

/// The outputs that `hostile` marks, as sums of their own fields: w (in, 3, 3,
/// out).
template <class Define>
void correlate_marked(int64_t batch, const Images& in, const Images& out, const uint16_t* hostile,
                      const float* x, const float* w, const float* bias, float* y, Define define) {
  const Tiles tiles(batch, out.height, out.width);
  parallel_for(tiles.runs, tiles.runs_per_block, [&](int64_t begin, int64_t end) {
    Patches patches(in, out);
    for_each_run(tiles, begin, end, out,
                 [&](const TileRun& run, int64_t image, int64_t first, int64_t) {
                   for (int64_t t = 0; t < run.tiles; ++t)
                     for (unsigned marks = hostile[first + t]; marks != 0; marks &= marks - 1) {
                       const int k = std::countr_zero(marks);
                       const int64_t i = run.top + k / 4, j = run.left + 4 * t + k % 4;
                       if (i >= out.height || j >= out.width) continue;
                       patches.add(x + image / out.image * in.image, i, j, image);
                       if (patches.full()) patches.finish(w, bias, y, define);
                     }
                 });
    patches.finish(w, bias, y, define);
  });
}

/// u (in, out): the weights of each pair begin at w + in * in_stride + out * out_stride. No data
/// where one is too large or small.
Points<const float> transformed_weights(int64_t in, int64_t out, const float* w, int64_t in_stride,
                                        int64_t out_stride, bool rotated) {
  const Layout layout(in, out);
  const Points<float> u = layout.at(workspace<float, struct Weights>(layout.size()));
  std::atomic<bool> served = true;
  parallel_for(in, std::max<int64_t>(1, kWeightGrain / out), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (!table().weight(out, w + i * in_stride, out_stride, rotated, from(u, i, 0)))
        served = false;
  });
  return served ? u : Points<float>{};
}

/// The same weights as a matrix (in, 3, 3, out).
const float* weight_matrix(int64_t in, int64_t out, const float* w, int64_t in_stride,
                           int64_t out_stride, bool rotated) {
  float* const matrix = workspace<float, struct WeightMatrix>(in * 9 * out);
  float* to = matrix;
  for (int64_t i = 0; i < in; ++i)
    for (int64_t k = 0; k < 9; ++k)
      for (int64_t o = 0; o < out; ++o)
        *to++ = w[i * in_stride + o * out_stride + (rotated ? 8 - k : k)];
  return matrix;
}

/// f(x or dx, y or dy, w or dw of the group, its first output channel), as offsets, until it is
/// false; returns what it was last.
template <class F>
bool for_each_group(const Conv2dShape& s, F f) {
  for (int64_t g = 0; g < s.groups; ++g)
    if (!f(g * s.group_in() * s.height * s.width,
           g * s.group_out() * s.output_height() * s.output_width(),
           g * s.group_out() * s.group_in() * 9, g * s.group_out()))
      return false;
  return true;
}

/// What a piece of the sum over the tiles gives: dw as (out, 3x3, in) with padded rows, then db.
struct Part {
  Part(int64_t in, int64_t out)
      : row(Layout(0, in).row), db(out * 9 * row), size(db + Layout(0, out).row) {}
  int64_t row, db, size;
};

/// The sum over the runs begin .. end - 1, block after block.
void sum_piece(const Tiles& tiles, int64_t begin, int64_t end, const Images& in, const Images& out,
               const float* x, const float* dy, const Part& part, float* sums) {
  const Layout v_layout(tiles.in_block(), in.channels), m_layout(tiles.in_block(), out.channels),
      u_layout(out.channels, in.channels);
  float* const memory =
      workspace<float, struct WeightBlock>(v_layout.size() + m_layout.size() + u_layout.size());
  const Points<float> v = v_layout.at(memory), m = m_layout.at(memory + v_layout.size()),
                      u = u_layout.at(memory + v_layout.size() + m_layout.size());
  LongSum<float, Part> db;
  db.begin(sums + part.db, 1, part.size - part.db, 0);
  for (int64_t first = begin; first < end; first += tiles.runs_per_block) {
    const int64_t last = std::min(end, first + tiles.runs_per_block);
    tiles.for_each(first, last, in,
                   [&](const TileRun& run, int64_t image, int64_t c, int64_t tile) {
                     table().input(run, x + image, from(v, tile, c));
                   });
    db.next(last - first);
    const int64_t count = tiles.for_each(
        first, last, out, [&](const TileRun& run, int64_t image, int64_t c, int64_t tile) {
          table().output_gradient(run, dy + image, from(m, tile, c), sums + part.db + c);
        });
    multiply(Transpose::yes, out.channels, u_layout.columns, count, m, v, first == begin ? 0 : 1,
             u);
  }
  db.finish();
  for (int64_t o = 0; o < out.channels; ++o)
    table().weight_gradient(in.channels, from(u, o, 0), sums + o * 9 * part.row);
}

}  // namespace

bool winograd_conv2d(const Conv2dShape& s, const float* x, const float* w, const float* bias,
                     float* y) {
  const Images in = x_images(s, s.padding_h, s.padding_w), out = y_images(s, 0, 0);
  return for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t o) {
    const Points<const float> u =
        transformed_weights(in.channels, out.channels, w + w0, 9, 9 * in.channels, false);
    if (!u.data) return false;
    const float* const shift = bias ? bias + o : nullptr;
    if (const uint16_t* hostile = correlate(s.batch, in, out, x + x0, u, shift, y + y0))
      correlate_marked(s.batch, in, out, hostile, x + x0,
                       weight_matrix(in.channels, out.channels, w + w0, 9, 9 * in.channels, false),
                       shift, y + y0,
                       [&](int64_t at) { define_y(s, x, w, bias, y0 + at, y0 + at + 1, y); });
    return true;
  });
}

bool winograd_conv2d_input(const Conv2dShape& s, const float* dy, const float* w, float* dx) {
  const Images in = y_images(s, 2 - s.padding_h, 2 - s.padding_w), out = x_images(s, 0, 0);
  return for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t) {
    const Points<const float> u =
        transformed_weights(in.channels, out.channels, w + w0, 9 * out.channels, 9, true);
    if (!u.data) return false;
    if (const uint16_t* hostile = correlate(s.batch, in, out, dy + y0, u, nullptr, dx + x0))
      correlate_marked(s.batch, in, out, hostile, dy + y0,
                       weight_matrix(in.channels, out.channels, w + w0, 9 * out.channels, 9, true),
                       nullptr, dx + x0,
                       [&](int64_t at) { define_dx(s, dy, w, x0 + at, x0 + at + 1, dx); });
    return true;
  });
}

void winograd_conv2d_weight(const Conv2dShape& s, const float* x, const float* dy, float* dw,
                            float* db) {
  const int64_t in = s.group_in(), out = s.group_out();
  const Tiles tiles(s.batch, s.output_height(), s.output_width());
  // Whole blocks, cut by the shape and added in order, so that threads do not show.
  constexpr int64_t most_pieces = 16;
  const int64_t blocks = ceil_div(ceil_div(tiles.runs, tiles.runs_per_block), most_pieces);
  const int64_t runs = std::max<int64_t>(1, blocks) * tiles.runs_per_block;
  const int64_t pieces = ceil_div(tiles.runs, runs);
  const Part part(in, out);
  float* const sums = workspace<float, struct WeightSums>(pieces * part.size);
  for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t first_out) {
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      sum_piece(tiles, piece * runs, std::min(tiles.runs, (piece + 1) * runs),
                x_images(s, s.padding_h, s.padding_w), y_images(s, 0, 0), x + x0, dy + y0, part,
                sums + piece * part.size);
    });
    const int64_t grain = std::max<int64_t>(1, kGradientGrain / ((pieces + 1) * in));
    parallel_for(out, grain, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o)
        table().sum_weight_gradients(in, pieces, sums + o * 9 * part.row, part.row, part.size,
                                     dw + w0 + o * in * 9);
    });
    for (int64_t o = 0; db && o < out; ++o) {
      float sum = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) sum += sums[piece * part.size + part.db + o];
      db[first_out + o] = sum;
    }
    return true;
  });
}

}  // namespace gradus::kernels

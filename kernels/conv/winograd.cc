// 3x3 convolution with stride 1 in the transformed domain of winograd.simd.cc: a block of
// tiles at a time, transform, multiply for each of the 36 points, transform back.
//
//   y:   m_p (tiles, out) = v_p (tiles, in) u_p (in, out)
//   dx:  the same with dy and rotated weights, in and out having changed places
//   dw:  du_p (out, in) = sum over the tiles of dm_p^T v_p

#include <gradus/kernels/conv/paths.h>
#include <gradus/kernels/conv/table.h>
#include <gradus/kernels/gemm/gemm.h>

namespace gradus::kernels {
namespace {

// Enough rows for a product, few enough that a block's matrices stay in the caches.
constexpr int64_t kBlockTiles = 48;

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

/// y = x correlated with the weights that u (in, out) holds, plus bias.
void correlate(int64_t batch, const Images& in, const Images& out, const float* x,
               Points<const float> u, const float* bias, float* y) {
  const Tiles tiles(batch, out.height, out.width);
  const Layout v_layout(tiles.in_block(), in.channels), m_layout(tiles.in_block(), out.channels);
  parallel_for(tiles.runs, tiles.runs_per_block, [&](int64_t begin, int64_t end) {
    static constinit thread_local Workspace<float, struct ForwardBlock> workspace;
    float* const memory = workspace.of_size(v_layout.size() + m_layout.size());
    const Points<float> v = v_layout.at(memory), m = m_layout.at(memory + v_layout.size());
    const int64_t count = tiles.for_each(
        begin, end, in, [&](const TileRun& run, int64_t image, int64_t c, int64_t tile) {
          table().input(run, x + image, from(v, tile, c));
        });
    multiply(Transpose::no, count, m_layout.columns, in.channels, v, u, 0, m);
    tiles.for_each(begin, end, out,
                   [&](const TileRun& run, int64_t image, int64_t c, int64_t tile) {
                     table().output(run, from(m, tile, c), bias ? bias + c : nullptr, y + image);
                   });
  });
}

/// u (in, out): the weights of each pair begin at w + in * in_stride + out * out_stride.
Points<const float> transformed_weights(int64_t in, int64_t out, const float* w, int64_t in_stride,
                                        int64_t out_stride, bool rotated) {
  const Layout layout(in, out);
  static constinit thread_local Workspace<float, struct Weights> workspace;
  const Points<float> u = layout.at(workspace.of_size(layout.size()));
  parallel_for(in, std::max<int64_t>(1, (1 << 10) / out), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      table().weight(out, w + i * in_stride, out_stride, rotated, from(u, i, 0));
  });
  return u;
}

/// f(x or dx, y or dy, w or dw of the group, its first output channel), as offsets.
template <class F>
void for_each_group(const Conv2dShape& s, F f) {
  for (int64_t g = 0; g < s.groups; ++g)
    f(g * s.group_in() * s.height * s.width,
      g * s.group_out() * s.output_height() * s.output_width(),
      g * s.group_out() * s.group_in() * 9, g * s.group_out());
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
  static constinit thread_local Workspace<float, struct WeightBlock> workspace;
  float* const memory = workspace.of_size(v_layout.size() + m_layout.size() + u_layout.size());
  const Points<float> v = v_layout.at(memory), m = m_layout.at(memory + v_layout.size()),
                      u = u_layout.at(memory + v_layout.size() + m_layout.size());
  std::fill(sums + part.db, sums + part.size, 0.0f);
  for (int64_t first = begin; first < end; first += tiles.runs_per_block) {
    const int64_t last = std::min(end, first + tiles.runs_per_block);
    tiles.for_each(first, last, in,
                   [&](const TileRun& run, int64_t image, int64_t c, int64_t tile) {
                     table().input(run, x + image, from(v, tile, c));
                   });
    const int64_t count = tiles.for_each(
        first, last, out, [&](const TileRun& run, int64_t image, int64_t c, int64_t tile) {
          table().output_gradient(run, dy + image, from(m, tile, c), sums + part.db + c);
        });
    multiply(Transpose::yes, out.channels, u_layout.columns, count, m, v, first == begin ? 0 : 1,
             u);
  }
  for (int64_t o = 0; o < out.channels; ++o)
    table().weight_gradient(in.channels, from(u, o, 0), sums + o * 9 * part.row);
}

}  // namespace

void winograd_conv2d(const Conv2dShape& s, const float* x, const float* w, const float* bias,
                     float* y) {
  const int64_t in = s.group_in(), out = s.group_out();
  for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t o) {
    const Points<const float> u = transformed_weights(in, out, w + w0, 9, 9 * in, false);
    correlate(s.batch, x_images(s, s.padding_h, s.padding_w), y_images(s, 0, 0), x + x0, u,
              bias ? bias + o : nullptr, y + y0);
  });
}

void winograd_conv2d_input(const Conv2dShape& s, const float* dy, const float* w, float* dx) {
  const int64_t in = s.group_in(), out = s.group_out();
  for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t) {
    const Points<const float> u = transformed_weights(out, in, w + w0, 9 * in, 9, true);
    correlate(s.batch, y_images(s, 2 - s.padding_h, 2 - s.padding_w), x_images(s, 0, 0), dy + y0, u,
              nullptr, dx + x0);
  });
}

void winograd_conv2d_weight(const Conv2dShape& s, const float* x, const float* dy, float* dw,
                            float* db) {
  const int64_t in = s.group_in(), out = s.group_out();
  const Tiles tiles(s.batch, s.output_height(), s.output_width());
  // At most 16 pieces of whole blocks, cut by the shape and added in order, so that threads do not
  // show.
  const int64_t blocks = ceil_div(ceil_div(tiles.runs, tiles.runs_per_block), 16);
  const int64_t runs = std::max<int64_t>(1, blocks) * tiles.runs_per_block;
  const int64_t pieces = ceil_div(tiles.runs, runs);
  const Part part(in, out);
  static constinit thread_local Workspace<float, struct WeightSums> workspace;
  float* const sums = workspace.of_size(pieces * part.size);
  for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t first_out) {
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      sum_piece(tiles, piece * runs, std::min(tiles.runs, (piece + 1) * runs),
                x_images(s, s.padding_h, s.padding_w), y_images(s, 0, 0), x + x0, dy + y0, part,
                sums + piece * part.size);
    });
    const int64_t grain = std::max<int64_t>(1, (1 << 12) / ((pieces + 1) * in));
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
  });
}

}  // namespace gradus::kernels

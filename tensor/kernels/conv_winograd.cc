#include <gradus/tensor/kernels/conv_paths.h>
#include <gradus/tensor/kernels/conv_table.h>
#include <gradus/tensor/kernels/gemm_table.h>

namespace gradus::kernels {
namespace {

// Tiles that go through the transforms, the products and back together: enough rows for a product,
// few enough that their 36 matrices stay in the caches.
constexpr int64_t kBlockTiles = 48;
constexpr int64_t kPieces = 16;  // at most, of the sum over the tiles that dw is

const WinogradKernels& table() { return kernels<WinogradKernels>(); }

int64_t divided(int64_t n, int64_t by) { return (n + by - 1) / by; }

/// Images (channels, height, width), `image` floats apart.
struct Images {
  int64_t channels, height, width, image;
};

/// 4x4 tiles that cover images of height x width, in runs along a row of tiles.
struct Tiles {
  Tiles(int64_t batch, int64_t height, int64_t width)
      : per_row(divided(width, 4)),
        runs_per_row(divided(per_row, kMaxRun)),
        run(divided(per_row, runs_per_row)),
        rows(divided(height, 4)),
        runs(batch * rows * runs_per_row),
        runs_per_block(std::max<int64_t>(1, kBlockTiles / run)) {}

  /// f(run, image, c, tiles of runs before) for the runs begin .. end - 1 of each vector of
  /// channels; returns the number of tiles. Channels come first, so that each plane is walked
  /// along.
  template <class F>
  int64_t for_each(int64_t begin, int64_t end, const Images& of, int64_t padding_h,
                   int64_t padding_w, F f) const {
    int64_t before = 0;
    for (int64_t c = 0; c < of.channels; c += kChannels) {
      before = 0;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % runs_per_row * run, count = std::min(run, per_row - first);
        f(TileRun{std::min(kChannels, of.channels - c), of.height, of.width,
                  4 * (i / runs_per_row % rows) - padding_h, 4 * first - padding_w, count},
          i / (rows * runs_per_row) * of.image + c * of.height * of.width, c, before);
        before += count;
      }
    }
    return before;
  }
  int64_t block_tiles() const { return runs_per_block * run; }

  int64_t per_row, runs_per_row, run, rows, runs, runs_per_block;
};

/// 36 matrices of `rows` rows for `channels` channels, a cache line apart from a round distance.
struct Layout {
  Layout(int64_t rows, int64_t channels)
      : columns(divided(channels, table().width) * table().width),
        row(divided(channels, kChannels) * kChannels),
        point(rows * row + 16) {}
  int64_t size() const { return 36 * point; }
  template <class T>
  Points<T> at(T* data) const {
    return {data, row, point};
  }
  int64_t columns;  // in whole vectors
  int64_t row, point;
};

template <class T>
Points<T> from(Points<T> p, int64_t row, int64_t column) {
  p.data += row * p.row + column;
  return p;
}

/// y = x correlated with the weights that u holds, (in, out) for each point, plus bias.
void correlate(int64_t batch, const Images& in, const Images& out, int64_t padding_h,
               int64_t padding_w, const float* x, Points<const float> u, const float* bias,
               float* y) {
  const Tiles tiles(batch, out.height, out.width);
  const Layout v_layout(tiles.block_tiles(), in.channels),
      m_layout(tiles.block_tiles(), out.channels);
  parallel_for(tiles.runs, tiles.runs_per_block, [&](int64_t begin, int64_t end) {
    static constinit thread_local Workspace<float, struct ForwardBlock> workspace;
    float* const memory = workspace.of_size(v_layout.size() + m_layout.size());
    const Points<float> v = v_layout.at(memory), m = m_layout.at(memory + v_layout.size());
    const int64_t count =
        tiles.for_each(begin, end, in, padding_h, padding_w,
                       [&](const TileRun& run, int64_t image, int64_t c, int64_t before) {
                         table().input(run, x + image, from(v, before, c));
                       });
    for (int p = 0; p < 36; ++p)
      kernels<GemmKernels<float>>().small({Transpose::no, Transpose::no, count, m_layout.columns,
                                           in.channels, 1, v.data + p * v.point, v.row,
                                           u.data + p * u.point, u.row, 0, m.data + p * m.point,
                                           m.row});
    const Points<const float> product{m.data, m.row, m.point};
    tiles.for_each(
        begin, end, out, 0, 0, [&](const TileRun& run, int64_t image, int64_t c, int64_t before) {
          table().output(run, from(product, before, c), bias ? bias + c : nullptr, y + image);
        });
  });
}

/// u for each (in, out), the 3x3 weights of which begin at w + in * in_stride + out * out_stride.
Points<const float> transformed_weights(int64_t in, int64_t out, const float* w, int64_t in_stride,
                                        int64_t out_stride, bool rotated) {
  const Layout layout(in, out);
  static constinit thread_local Workspace<float, struct Weights> workspace;
  const Points<float> u = layout.at(workspace.of_size(layout.size()));
  parallel_for(in, std::max<int64_t>(1, (1 << 10) / out), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      table().weight(out, w + i * in_stride, out_stride, rotated, from(u, i, 0));
  });
  return {u.data, u.row, u.point};
}

Images x_images(const Conv2dShape& s) {
  return {s.group_in(), s.height, s.width, s.in_channels * s.height * s.width};
}
Images y_images(const Conv2dShape& s) {
  const int64_t height = s.output_height(), width = s.output_width();
  return {s.group_out(), height, width, s.out_channels * height * width};
}

/// f(x or dx, y or dy, w or dw of the group, first output channel), as offsets.
template <class F>
void for_each_group(const Conv2dShape& s, F f) {
  for (int64_t g = 0; g < s.groups; ++g)
    f(g * s.group_in() * s.height * s.width,
      g * s.group_out() * s.output_height() * s.output_width(),
      g * s.group_out() * s.group_in() * 9, g * s.group_out());
}

}  // namespace

void winograd_conv2d(const Conv2dShape& s, const float* x, const float* w, const float* bias,
                     float* y) {
  const int64_t in = s.group_in(), out = s.group_out();
  for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t o) {
    const Points<const float> u = transformed_weights(in, out, w + w0, 9, 9 * in, false);
    correlate(s.batch, x_images(s), y_images(s), s.padding_h, s.padding_w, x + x0, u,
              bias ? bias + o : nullptr, y + y0);
  });
}

// dx is dy correlated with the rotated weights, outputs and inputs having changed places.
void winograd_conv2d_input(const Conv2dShape& s, const float* dy, const float* w, float* dx) {
  const int64_t in = s.group_in(), out = s.group_out();
  for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t) {
    const Points<const float> u = transformed_weights(out, in, w + w0, 9 * in, 9, true);
    correlate(s.batch, y_images(s), x_images(s), 2 - s.padding_h, 2 - s.padding_w, dy + y0, u,
              nullptr, dx + x0);
  });
}

namespace {

/// parts[piece] = dw, [out][3x3][in], from the piece's tiles, and their db behind it.
struct WeightParts {
  WeightParts(const Conv2dShape& s, const Layout& v, const Layout& m)
      : w_row(9 * v.row), db(s.group_out() * w_row), size(db + m.row) {}
  int64_t w_row, db, size;
};

/// The sums over a piece's blocks of tiles, and dw and db from them.
void sum_piece(const Conv2dShape& s, const Tiles& tiles, int64_t begin, int64_t end, const float* x,
               const float* dy, const WeightParts& parts, float* part) {
  const Images in = x_images(s), out = y_images(s);
  const Layout v_layout(tiles.block_tiles(), in.channels),
      m_layout(tiles.block_tiles(), out.channels), u_layout(out.channels, in.channels);
  static constinit thread_local Workspace<float, struct WeightBlock> workspace;
  float* const memory = workspace.of_size(v_layout.size() + m_layout.size() + u_layout.size());
  const Points<float> v = v_layout.at(memory), m = m_layout.at(memory + v_layout.size()),
                      u = u_layout.at(memory + v_layout.size() + m_layout.size());
  float* const db = part + parts.db;
  std::fill_n(db, m.row, 0.0f);
  for (int64_t first = begin; first < end; first += tiles.runs_per_block) {
    const int64_t last = std::min(end, first + tiles.runs_per_block);
    tiles.for_each(first, last, in, s.padding_h, s.padding_w,
                   [&](const TileRun& run, int64_t image, int64_t c, int64_t before) {
                     table().input(run, x + image, from(v, before, c));
                   });
    const int64_t count = tiles.for_each(
        first, last, out, 0, 0, [&](const TileRun& run, int64_t image, int64_t c, int64_t before) {
          table().output_gradient(run, dy + image, from(m, before, c), db + c);
        });
    for (int p = 0; p < 36; ++p)
      kernels<GemmKernels<float>>().small(
          {Transpose::yes, Transpose::no, out.channels, v_layout.columns, count, 1,
           m.data + p * m.point, m.row, v.data + p * v.point, v.row, first == begin ? 0.0f : 1.0f,
           u.data + p * u.point, u.row});
  }
  const Points<const float> sums{u.data, u.row, u.point};
  for (int64_t o = 0; o < out.channels; ++o)
    table().weight_gradient(in.channels, from(sums, o, 0), part + o * parts.w_row);
}

}  // namespace

void winograd_conv2d_weight(const Conv2dShape& s, const float* x, const float* dy, float* dw,
                            float* db) {
  const int64_t in = s.group_in(), out = s.group_out();
  const Tiles tiles(s.batch, s.output_height(), s.output_width());
  // Cut by the shape and added in order, so that threads do not show.
  const int64_t blocks = divided(tiles.runs, tiles.runs_per_block);
  const int64_t runs = std::max<int64_t>(1, divided(blocks, kPieces)) * tiles.runs_per_block;
  const int64_t pieces = divided(tiles.runs, runs);
  const WeightParts parts(s, Layout(0, in), Layout(0, out));
  static constinit thread_local Workspace<float, struct WeightSums> workspace;
  float* const memory = workspace.of_size(pieces * parts.size);
  for_each_group(s, [&](int64_t x0, int64_t y0, int64_t w0, int64_t first_out) {
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      sum_piece(s, tiles, piece * runs, std::min(tiles.runs, (piece + 1) * runs), x + x0, dy + y0,
                parts, memory + piece * parts.size);
    });
    parallel_for(
        out, std::max<int64_t>(1, (1 << 12) / ((pieces + 1) * in)), [&](int64_t begin, int64_t end) {
          for (int64_t o = begin; o < end; ++o)
            table().sum_weight_gradients(in, pieces, memory + o * parts.w_row, parts.w_row / 9,
                                         parts.size, dw + w0 + o * in * 9);
        });
    if (db)
      for (int64_t o = 0; o < out; ++o) {
        float sum = 0;
        for (int64_t piece = 0; piece < pieces; ++piece)
          sum += memory[piece * parts.size + parts.db + o];
        db[first_out + o] = sum;
      }
  });
}

}  // namespace gradus::kernels

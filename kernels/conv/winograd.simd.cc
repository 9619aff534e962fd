// The transforms of Winograd's F(4x4, 3x3) (Lavin & Gray 2016), which gives 4x4 outputs of a 3x3
// correlation with 36 products instead of 144:
//
//   Y = A^T [ (G w G^T) * (B^T x B) ] A,   * elementwise, summed over the input channels
//
// Along one axis it interpolates a polynomial of degree 5 at p = 0, a, -a, b, -b and infinity:
//
//          at p                                         at infinity
//   A^T:   p^i, i = 0 .. 3                              [0 0 0 1]
//   G:     p^k / prod of (p - the others), k = 0 .. 2   [0 0 1]
//   B^T:   coefficients of prod of (z - the others)     of z (z^2 - a^2) (z^2 - b^2)
//
// With a = 3/4 and b = 3/2 the entries of A and B are exact, and rounding errors half of those at
// the usual 1 and 2. A vector holds one pixel of kLanes channels.

#include <gradus/kernels/conv/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/lanes.h>

namespace gradus::kernels {
namespace {

using V = Vector<float>;
constexpr int64_t kLanes = kWidth<float>;
constexpr int64_t kMaxColumns = 4 * kMaxRun + 2;

constexpr float a = 0.75f, b = 1.5f, a2 = a * a, b2 = b * b, a3 = a * a2, b3 = b * b2;

// Numbers by their bits without the sign, which are ordered as magnitudes are, infinity and NaN
// above the others. Pixels up to kLargest and 2^-80 or more, times weights of kSmallestWeight to
// kLargest or 0, neither overflow nor lose bits that count to underflow.
using Bits = Vector<int32_t>;
constexpr int kExponent = 23;  // where a float's exponent begins
constexpr int32_t bits_of_power(int power) { return (127 + power) << kExponent; }
constexpr int32_t kLargest = bits_of_power(50), kSmallest = bits_of_power(-80),
                  kSmallestWeight = bits_of_power(-30), kInfinite = bits_of_power(128);

inline Bits magnitude(V x) { return Bits(x) & 0x7fffffff; }
inline Bits larger(Bits p, Bits q) { return p > q ? p : q; }
inline Bits smaller(Bits p, Bits q) { return p < q ? p : q; }

/// t = B^T d
inline void input_transform(const V (&d)[6], V (&t)[6]) {
  const V even_a = d[4] - b2 * d[2], odd_a = d[3] - b2 * d[1];
  const V even_b = d[4] - a2 * d[2], odd_b = d[3] - a2 * d[1];
  t[0] = d[4] - (a2 + b2) * d[2] + a2 * b2 * d[0];
  t[1] = even_a + a * odd_a;
  t[2] = even_a - a * odd_a;
  t[3] = even_b + b * odd_b;
  t[4] = even_b - b * odd_b;
  t[5] = d[5] - (a2 + b2) * d[3] + a2 * b2 * d[1];
}

/// y = A^T m
inline void output_transform(const V (&m)[6], V (&y)[4]) {
  const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + even_a + even_b;
  y[1] = a * odd_a + b * odd_b;
  y[2] = a2 * even_a + b2 * even_b;
  y[3] = a3 * odd_a + b3 * odd_b + m[5];
}

/// m = A y
inline void output_adjoint(const V (&y)[4], V (&m)[6]) {
  const V even_a = y[0] + a2 * y[2], odd_a = y[1] + a2 * y[3];
  const V even_b = y[0] + b2 * y[2], odd_b = y[1] + b2 * y[3];
  m[0] = y[0];
  m[1] = even_a + a * odd_a;
  m[2] = even_a - a * odd_a;
  m[3] = even_b + b * odd_b;
  m[4] = even_b - b * odd_b;
  m[5] = y[3];
}

constexpr float g0 = 1 / (a2 * b2), ga = 1 / (2 * a2 * (a2 - b2)), gb = 1 / (2 * b2 * (b2 - a2));

/// u = G w
inline void weight_transform(const V (&w)[3], V (&u)[6]) {
  const V even_a = ga * w[0] + (ga * a2) * w[2], odd_a = (ga * a) * w[1];
  const V even_b = gb * w[0] + (gb * b2) * w[2], odd_b = (gb * b) * w[1];
  u[0] = g0 * w[0];
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
  u[5] = w[2];
}

/// w = G^T u
inline void weight_adjoint(const V (&u)[6], V (&w)[3]) {
  const V even_a = u[1] + u[2], odd_a = u[1] - u[2], even_b = u[3] + u[4], odd_b = u[3] - u[4];
  w[0] = g0 * u[0] + ga * even_a + gb * even_b;
  w[1] = (ga * a) * odd_a + (gb * b) * odd_b;
  w[2] = (ga * a2) * even_a + (gb * b2) * even_b + u[5];
}

/// f of `from` vectors at `in`, `in_step` floats apart, gives `to` vectors at `out`.
template <int from, int to, class F>
GRADUS_INLINE inline void apply(F f, const float* in, int64_t in_step, float* out,
                                int64_t out_step) {
  V source[from], result[to];
  unroll<from>([&](int i) GRADUS_INLINE { source[i] = load(in + i * in_step); });
  f(source, result);
  unroll<to>([&](int i) GRADUS_INLINE { store(out + i * out_step, result[i]); });
}

void clear(float* x, int64_t vectors) {
  for (int64_t i = 0; i < vectors; ++i) store(x + i * kLanes, V{});
}

int64_t clamped(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

/// The part of a run's rows and columns that lies in the image, counted from the run's first.
struct Inside {
  Inside(const TileRun& run, int64_t all_rows, int64_t all_columns)
      : first_row(clamped(-run.top, 0, all_rows)),
        end_row(clamped(run.height - run.top, first_row, all_rows)),
        first_column(clamped(-run.left, 0, all_columns)),
        end_column(clamped(run.width - run.left, first_column, all_columns)),
        columns(end_column - first_column) {}
  int64_t first_row, end_row, first_column, end_column, columns;
};

/// f(c, lanes) for each vector of channels.
template <class F>
void for_each_lanes(int64_t channels, F f) {
  for (int64_t c = 0; c < channels; c += kLanes)
    f(c, channels - c < kLanes ? channels - c : kLanes);
}

/// Pixels of `lanes` channels beside each other: to[row][column][c], the columns being those
/// inside, and rows outside 0.
void gather(const TileRun& run, const Inside& in, int64_t rows, int64_t lanes, const float* x,
            float* to) {
  const int64_t plane = run.height * run.width, row = in.columns * kLanes;
  if (lanes < kLanes) clear(to, rows * in.columns);
  clear(to, in.first_row * in.columns);
  clear(to + in.end_row * row, (rows - in.end_row) * in.columns);
  x += (run.top + in.first_row) * run.width + run.left + in.first_column;
  to += in.first_row * row;
  int64_t count = in.end_row - in.first_row, length = in.columns;
  if (length == run.width) {  // whole rows lie behind each other
    length *= count;
    count = count > 0;
  }
  for (int64_t i = 0; i < count; ++i)
    transpose(x + i * run.width, plane, lanes, length, to + i * row, kLanes);
}

/// The inverse of gather for rows of the tiles' own pixels.
void scatter(const TileRun& run, const Inside& in, int64_t lanes, const float* from, float* y) {
  const int64_t plane = run.height * run.width, row = in.columns * kLanes;
  y += run.top * run.width + run.left;
  int64_t count = in.end_row, length = in.columns;
  if (length == run.width) {
    length *= count;
    count = 1;
  }
  for (int64_t i = 0; i < count; ++i)
    transpose(from + i * row, kLanes, length, lanes, y + i * run.width, plane);
}

/// Transforms `rows` of pixels down their columns, then each tile's `rows` along its 6 rows.
template <int rows, class F>
void transform_pixels(const TileRun& run, const Inside& in, const float* pixels, F f,
                      Points<float> to) {
  alignas(64) float strip[6 * kMaxColumns * kLanes];
  const int64_t row = (4 * run.tiles + rows - 4) * kLanes;
  for (int p = 0; p < 6; ++p) {
    clear(strip + p * row, in.first_column);
    clear(strip + p * row + in.end_column * kLanes, row / kLanes - in.end_column);
  }
  for (int64_t j = 0; j < in.columns; ++j)
    apply<rows, 6>(f, pixels + j * kLanes, in.columns * kLanes,
                   strip + (in.first_column + j) * kLanes, row);
  for (int64_t t = 0; t < run.tiles; ++t)
    for (int p = 0; p < 6; ++p)
      apply<rows, 6>(f, strip + p * row + 4 * t * kLanes, kLanes,
                     to.data + t * to.row + 6 * p * to.point, to.point);
}

/// to[i] = the largest magnitude of x[i] in the channels, for a block of i.
template <int vectors>
void largest_of_block(const float* x, int64_t channels, int64_t plane, int32_t* to) {
  Bits largest[vectors] = {};
  for (int64_t c = 0; c < channels; ++c, x += plane)
    unroll<vectors>([&](int k) GRADUS_INLINE {
      largest[k] = larger(largest[k], magnitude(load(x + k * kLanes)));
    });
  unroll<vectors>([&](int k) GRADUS_INLINE { store(to + k * kLanes, largest[k]); });
}

/// For all i < n; a whole vector is written.
void largest_magnitudes(int64_t n, const float* x, int64_t channels, int64_t plane, int32_t* to) {
  const auto in_blocks_of = [&]<int vectors>() {
    for_each_block<vectors * kLanes>(
        n, [&](int64_t i) { largest_of_block<vectors>(x + i, channels, plane, to + i); });
  };
  if (n >= 16 * kLanes) return in_blocks_of.template operator()<8>();
  if (n >= 4 * kLanes) return in_blocks_of.template operator()<4>();
  if (n >= kLanes) return in_blocks_of.template operator()<1>();
  Bits largest = {};
  for (int64_t c = 0; c < channels; ++c, x += plane)
    largest = larger(largest, magnitude(load_first(x, static_cast<int>(n))));
  store(to, largest);
}

/// Whole vectors.
void clear(int32_t* x, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) store(x + i, Bits{});
}

// A row of the pixels that a run sees, and room for a vector behind it.
constexpr int64_t kSeenRow = kMaxColumns + kLanes;

/// The largest magnitude in any channel of each of the run's pixels in the image's columns, 6 rows.
void largest_of_pixels(const TileRun& run, const Inside& in, const float* x, bool below,
                       int32_t* pixels) {
  const int64_t row = in.columns;
  int64_t first = in.first_row;
  if (below) {
    for (int64_t i = 0; i < 2 * row; ++i) pixels[i] = pixels[4 * row + i];
    first = first > 2 ? first : 2;
  } else {
    clear(pixels, first * row);
  }
  x += (run.top + first) * run.width + run.left + in.first_column;
  int64_t count = in.end_row > first ? in.end_row - first : 0, length = row;
  if (row == run.width && count > 0) {  // whole rows lie behind each other
    length *= count;
    count = 1;
  }
  for (int64_t i = 0; i < count; ++i)
    largest_magnitudes(length, x + i * run.width, run.channels, run.height * run.width,
                       pixels + (first + i) * row);
  const int64_t end = in.end_row > first ? in.end_row : first;
  clear(pixels + end * row, (6 - end) * row);
}

/// to (4, kSeenRow): the largest magnitude of three pixels below each other, for each row of
/// outputs and column of inputs.
void largest_of_columns(const TileRun& run, const Inside& in, const int32_t* pixels, int32_t* to) {
  const int64_t row = in.columns;
  for (int64_t i = 0; i < 4; ++i, to += kSeenRow) {
    clear(to, in.first_column);
    for (int64_t j = 0; j < row; j += kLanes) {
      const int32_t* p = pixels + i * row + j;
      store(to + in.first_column + j, larger(larger(load(p), load(p + row)), load(p + 2 * row)));
    }
    clear(to + in.end_column, 4 * run.tiles + 2 - in.end_column);
  }
}

/// The largest magnitudes that the run's outputs see: fields (4, kSeenRow). Outputs outside the
/// image have those of their neighbours.
void largest_seen(const TileRun& run, const Inside& in, const Outputs& outputs,
                  const int32_t* pixels, int32_t* fields) {
  alignas(64) int32_t columns[4 * kSeenRow + 2 * kLanes];
  largest_of_columns(run, in, pixels, columns);
  for (int64_t i = 0; i < 4; ++i) {
    int32_t* const field = fields + i * kSeenRow;
    const int32_t* const seen = columns + (i < outputs.rows ? i : outputs.rows - 1) * kSeenRow;
    for (int64_t j = 0; j < 4 * run.tiles; j += kLanes)
      store(field + j, larger(larger(load(seen + j), load(seen + j + 1)), load(seen + j + 2)));
    for (int64_t j = outputs.columns; j < 4 * run.tiles; ++j) field[j] = field[outputs.columns - 1];
  }
}

/// The smallest of what is seen, and the largest.
struct Seen {
  int32_t smallest, largest;
  bool within(int powers) const {
    return largest <= kLargest && smallest >= kSmallest &&
           smallest >= largest - (powers << kExponent);
  }
};

/// The largest lane's bits of magnitudes, or infinity's for NaN, which no number is above then.
inline int32_t largest_lane(Bits x) {
  return magnitude(V{} + horizontal_max(V(smaller(x, Bits{} + kInfinite))))[0];
}
inline int32_t smallest_lane(Bits x) {
  return magnitude(V{} + horizontal_max(-V(smaller(x, Bits{} + kInfinite))))[0];
}

/// Of rows of at least a vector's columns, `row` apart.
Seen seen_in(const int32_t* x, int64_t rows, int64_t row, int64_t columns) {
  Bits smallest = load(x), largest = smallest;
  const int64_t last = columns - kLanes;
  for (int64_t i = 0; i < rows; ++i, x += row)
    for (int64_t j = 0; j < columns; j += kLanes) {
      const Bits seen = load(x + (j < last ? j : last));
      smallest = smaller(smallest, seen), largest = larger(largest, seen);
    }
  return {smallest_lane(smallest), largest_lane(largest)};
}

typedef int32_t Four __attribute__((vector_size(16)));
typedef int32_t UnalignedFour __attribute__((vector_size(16), aligned(4), may_alias));

/// What a tile's outputs see that is not zero, and a bit for each that sees zeros alone.
struct TileSeen {
  explicit TileSeen(const int32_t* fields) {
    Four low = Four{} + kNone, high = {}, bits = {1, 2, 4, 8}, zeros = {};
    for (int i = 0; i < 4; ++i, fields += kSeenRow, bits <<= 4) {
      const Four seen = *reinterpret_cast<const UnalignedFour*>(fields), is_zero = seen == 0;
      const Four value = is_zero ? Four{} + kNone : seen;
      zeros |= is_zero & bits;
      low = value < low ? value : low;
      high = seen > high ? seen : high;
    }
    for (int k = 0; k < 4; ++k) {
      others.smallest = low[k] < others.smallest ? low[k] : others.smallest;
      others.largest = high[k] > others.largest ? high[k] : others.largest;
      zero |= zeros[k];
    }
  }
  static constexpr int32_t kNone = 0x7fffffff;
  Seen others{kNone, 0};
  int32_t zero = 0;
};

/// A bit for each output of the tile that sees something, but too small a thing.
int hostile_outputs(const int32_t* fields, int32_t largest, int apart) {
  int marks = 0;
  for (int k = 0; k < 16; ++k) {
    const int32_t seen = fields[k / 4 * kSeenRow + k % 4];
    if (seen != 0 && !Seen{seen, largest}.within(apart)) marks |= 1 << k;
  }
  return marks;
}

Reach inspect(const TileRun& run, const Outputs& outputs, const float* x, bool below, int near,
              int apart, int32_t* pixels, uint16_t* zero, uint16_t* hostile) {
  for (int64_t t = 0; t < run.tiles; ++t) zero[t] = hostile[t] = 0;
  const Inside in(run, 6, 4 * run.tiles + 2);
  largest_of_pixels(run, in, x, below, pixels);
  // A field has a pixel in the image: if all of those are near, no field need be looked at.
  const int64_t in_image = (in.end_row - in.first_row) * in.columns;
  if (in_image >= kLanes &&
      seen_in(pixels + in.first_row * in.columns, 1, 0, in_image).within(near))
    return Reach::near;
  alignas(64) int32_t fields[4 * kSeenRow];
  largest_seen(run, in, outputs, pixels, fields);
  if (4 * run.tiles >= kLanes && seen_in(fields, 4, kSeenRow, 4 * run.tiles).within(near))
    return Reach::near;
  Reach reach = Reach::near;
  for (int64_t t = 0; t < run.tiles; ++t) {
    const TileSeen seen(fields + 4 * t);
    if (seen.others.largest == 0) continue;  // a transform of zeros is exact
    zero[t] = static_cast<uint16_t>(seen.zero);
    if (seen.others.within(near)) continue;
    if (reach == Reach::near) reach = Reach::apart;
    if (seen.others.within(apart)) continue;
    hostile[t] = static_cast<uint16_t>(hostile_outputs(fields + 4 * t, seen.others.largest, apart));
    reach = Reach::hostile;
  }
  return reach;
}

void input(const TileRun& run, const float* x, Points<float> v) {
  alignas(64) float pixels[6 * kMaxColumns * kLanes];
  const Inside in(run, 6, 4 * run.tiles + 2);
  for_each_lanes(run.channels, [&](int64_t c, int64_t lanes) {
    gather(run, in, 6, lanes, x + c * run.height * run.width, pixels);
    transform_pixels<6>(run, in, pixels,
                        [](const V(&d)[6], V(&t)[6]) GRADUS_INLINE { input_transform(d, t); },
                        {v.data + c, v.row, v.point});
  });
}

void output_gradient(const TileRun& run, const float* dy, Points<float> m, float* db) {
  alignas(64) float pixels[4 * kMaxColumns * kLanes];
  const Inside in(run, 4, 4 * run.tiles);
  for_each_lanes(run.channels, [&](int64_t c, int64_t lanes) {
    gather(run, in, 4, lanes, dy + c * run.height * run.width, pixels);
    V sum = {};
    for (int64_t i = 0; i < 4 * in.columns; ++i) sum += load(pixels + i * kLanes);
    store(db + c, load(db + c) + sum);
    transform_pixels<4>(run, in, pixels,
                        [](const V(&d)[4], V(&t)[6]) GRADUS_INLINE { output_adjoint(d, t); },
                        {m.data + c, m.row, m.point});
  });
}

/// The 4x4 pixels of tile t to `pixels`, of which `columns` are still in the image.
void output_tile(Points<const float> m, int64_t t, V shift, int64_t columns, float* pixels,
                 int64_t row) {
  alignas(64) float half[4 * 6 * kLanes];
  for (int q = 0; q < 6; ++q)
    apply<6, 4>([](const V(&s)[6], V(&r)[4]) GRADUS_INLINE { output_transform(s, r); },
                m.data + t * m.row + q * m.point, 6 * m.point, half + q * kLanes, 6 * kLanes);
  for (int i = 0; i < 4; ++i) {
    V source[6], result[4];
    unroll<6>([&](int q) GRADUS_INLINE { source[q] = load(half + (6 * i + q) * kLanes); });
    output_transform(source, result);
    unroll<4>([&](int j) GRADUS_INLINE {
      if (j < columns) store(pixels + i * row + j * kLanes, result[j] + shift);
    });
  }
}

/// `shift` for those of a tile's pixels that `zero` marks.
void write_zeros(unsigned zero, V shift, int64_t columns, float* pixels, int64_t row) {
  for (; zero != 0; zero &= zero - 1) {
    const int k = __builtin_ctz(zero);
    if (k % 4 < columns) store(pixels + k / 4 * row + k % 4 * kLanes, shift);
  }
}

void output(const TileRun& run, Points<const float> m, const float* bias, const uint16_t* zero,
            float* y) {
  alignas(64) float pixels[4 * kMaxColumns * kLanes];
  const Inside in(run, 4, 4 * run.tiles);
  for_each_lanes(run.channels, [&](int64_t c, int64_t lanes) {
    const V shift = bias ? load_first(bias + c, static_cast<int>(lanes)) : V{};
    for (int64_t t = 0; t < run.tiles; ++t) {
      const int64_t columns = in.columns - 4 * t, row = in.columns * kLanes;
      float* tile = pixels + 4 * t * kLanes;
      output_tile({m.data + c, m.row, m.point}, t, shift, columns, tile, row);
      if (zero[t] != 0) write_zeros(zero[t], shift, columns, tile, row);
    }
    scatter(run, in, lanes, pixels, y + c * run.height * run.width);
  });
}

/// All bits in the lanes whose 3x3 weights are not served.
Bits not_served(const float* taps) {
  Bits largest = {};
  unroll<9>([&](int k)
                GRADUS_INLINE { largest = larger(largest, magnitude(load(taps + k * kLanes))); });
  return (largest != 0) & ((largest < kSmallestWeight) | (largest > kLargest));
}

bool weight(int64_t out, const float* w, int64_t stride, bool rotated, Points<float> u) {
  alignas(64) float taps[9 * kLanes], half[3 * 6 * kLanes];
  const auto transform = [](const V(&s)[3], V(&r)[6]) GRADUS_INLINE { weight_transform(s, r); };
  const float* first = rotated ? taps + 8 * kLanes : taps;
  const int64_t step = rotated ? -kLanes : kLanes;
  Bits bad = {};
  for_each_lanes(out, [&](int64_t o, int64_t lanes) {
    if (lanes < kLanes) clear(taps, 9);
    transpose(w + o * stride, stride, lanes, 9, taps, kLanes);
    bad |= not_served(taps);
    for (int q = 0; q < 3; ++q)
      apply<3, 6>(transform, first + q * step, 3 * step, half + q * kLanes, 3 * kLanes);
    for (int p = 0; p < 6; ++p)
      apply<3, 6>(transform, half + 3 * p * kLanes, kLanes, u.data + o + 6 * p * u.point, u.point);
  });
  int32_t lanes[kLanes], any = 0;
  store(lanes, bad);
  for (int32_t lane : lanes) any |= lane;
  return any == 0;
}

void weight_gradient(int64_t channels, Points<const float> u, float* dw) {
  alignas(64) float half[3 * 6 * kLanes];
  const auto transform = [](const V(&s)[6], V(&r)[3]) GRADUS_INLINE { weight_adjoint(s, r); };
  for_each_lanes(channels, [&](int64_t c, int64_t) {
    for (int q = 0; q < 6; ++q)
      apply<6, 3>(transform, u.data + c + q * u.point, 6 * u.point, half + q * kLanes, 6 * kLanes);
    for (int k = 0; k < 3; ++k)
      apply<6, 3>(transform, half + 6 * k * kLanes, kLanes, dw + 3 * k * u.row + c, u.row);
  });
}

void sum_weight_gradients(int64_t channels, int64_t pieces, const float* parts, int64_t row,
                          int64_t stride, float* dw) {
  alignas(64) float taps[9 * kLanes];
  for_each_lanes(channels, [&](int64_t c, int64_t lanes) {
    for (int k = 0; k < 9; ++k) {
      V sum = {};
      for (int64_t piece = 0; piece < pieces; ++piece)
        sum += load(parts + piece * stride + k * row + c);
      store(taps + k * kLanes, sum);
    }
    transpose(taps, kLanes, 9, lanes, dw + 9 * c, 9);
  });
}

constexpr WinogradKernels kKernels = {
    kLanes, inspect, input, output, output_gradient, weight, weight_gradient, sum_weight_gradients};

}  // namespace

template <>
const WinogradKernels& table_for<WinogradKernels, Isa::GRADUS_ISA>() {
  return kKernels;
}

}  // namespace gradus::kernels

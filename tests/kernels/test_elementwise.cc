#define BOOST_TEST_MODULE elementwise_kernels
#include <gradus/kernels/elementwise/elementwise.h>
#include <gradus/kernels/elementwise/naive.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/math/differentiation/autodiff.hpp>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

using namespace gradus;
using namespace gradus::kernels;
using namespace gradus::functions;
using Scalars = boost::mpl::list<float, double>;
using Everything = boost::mpl::list<float, double, int64_t, bool>;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const int64_t kSizes[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257, 1000};

/// An array without std::vector<bool>'s packing.
template <class T>
struct Array {
  explicit Array(int64_t size) : n(size), values(new T[static_cast<size_t>(size) + 1]()) {}
  T* data() { return values.get(); }
  const T* data() const { return values.get(); }
  T& operator[](int64_t i) { return values[static_cast<size_t>(i)]; }
  const T& operator[](int64_t i) const { return values[static_cast<size_t>(i)]; }
  bool operator==(const Array& other) const {
    return n == other.n &&
           std::memcmp(data(), other.data(), static_cast<size_t>(n) * sizeof(T)) == 0;
  }
  int64_t n;
  std::unique_ptr<T[]> values;
};

template <class T>
Array<T> random(int64_t n, double low, double high, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Array<T> x(n);
  for (int64_t i = 0; i < n; ++i) {
    const double value = uniform(generator);
    if constexpr (std::is_same_v<T, bool>)
      x[i] = value > (low + high) / 2;
    else
      x[i] = static_cast<T>(value);
  }
  return x;
}

template <class F>
F example() {
  F f;
  if constexpr (requires { f.low; }) f = F{-0.4, 0.9};
  if constexpr (requires { f.shift; }) f = F{-1.3, 0.7};
  if constexpr (requires { f.c; }) f.c = F::domain == Domain::positive ? 1.7 : -1.3;
  return f;
}

template <class Visit, class... F>
void for_each_function(TypeList<F...>, Visit visit) {
  (visit(example<F>()), ...);
}

template <class Visit>
void for_each_level(Visit visit) {
  for (Isa isa : kLevels)
    if (supports(isa)) visit(isa);
}

/// |x - y| <= tolerance of their size (or of 1), or both NaN.
template <class T>
bool close(T x, double y, double tolerance) {
  return (std::isnan(x) && std::isnan(y)) ||
         std::abs(x - y) <= tolerance * std::max(1.0, std::abs(y));
}

template <class T>
constexpr double kRounding = 8 * std::numeric_limits<T>::epsilon();

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(every_function_is_its_definition_at_every_level, T, Scalars) {
  for_each_function(Unary{}, [](auto f) {
    using F = decltype(f);
    for_each_level([&](Isa isa) {
      const ElementwiseKernels<T>& table = table_for<ElementwiseKernels<T>>(isa);
      constexpr int index = index_of<F>(Unary{});
      for (int64_t n : kSizes) {
        const Array<T> x = random<T>(n, F::domain == Domain::positive ? 0.1 : -3, 3, 1),
                       dy = random<T>(n, -2, 2, 2);
        Array<T> y(n + 1), dx(n + 1);
        y[n] = dx[n] = 77;
        table.unary[index](&f, n, x.data(), y.data());
        table.unary_backward[index](&f, n, dy.data(), x.data(), dx.data());
        for (int64_t i = 0; i < n; ++i) {
          const double exact = x[i];
          BOOST_TEST(close(y[i], f.value(exact), kRounding<T>), F::name << " at " << x[i]);
          BOOST_TEST(close(dx[i], f.gradient(double(dy[i]), exact), 4 * kRounding<T>),
                     F::name << "' at " << x[i]);
        }
        BOOST_TEST((y[n] == 77 && dx[n] == 77));
      }
    });
  });
}

BOOST_AUTO_TEST_CASE(every_derivative_is_the_dual_numbers) {
  for_each_function(Unary{}, [](auto f) {
    using F = decltype(f);
    for (double x : {-2.6, -1.1, -0.37, 0.21, 0.74, 1.3, 2.9}) {
      if (F::domain == Domain::positive && x < 0) continue;
      const auto dual = boost::math::differentiation::make_fvar<double, 2>(x);
      const auto y = f.value(dual);
      using Dual = std::remove_const_t<decltype(dual)>;
      const Dual dx = f.gradient(Dual(1), F::needs == Needs::y ? y : dual);
      const double kept = F::needs == Needs::y ? f.value(x) : x;
      BOOST_TEST(close(f.gradient(1.0, kept), y.derivative(1), 1e-14), F::name << "' at " << x);
      if (F::needs != Needs::nothing)
        BOOST_TEST(close(static_cast<double>(dx.derivative(1)), y.derivative(2), 1e-13),
                   F::name << "'' at " << x);
    }
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(conventions_at_kinks_and_for_nan, T, Scalars) {
  const T nan = static_cast<T>(kNan);
  for (const T dy : {T(3), std::numeric_limits<T>::infinity()}) {
    BOOST_TEST(Relu{}.gradient(dy, T(0)) == 0);
    BOOST_TEST(Relu{}.gradient(dy, nan) == dy);
    BOOST_TEST(Abs{}.gradient(dy, T(0)) == 0);
    const Clamp clamp{-0.5, 1.5};
    for (const T x : {T(-0.5), T(1.5), nan}) BOOST_TEST(clamp.gradient(dy, x) == dy);
    for (const T x : {T(-0.6), T(1.6)}) BOOST_TEST(clamp.gradient(dy, x) == 0);
    for (const T x : {T(0), T(2), nan}) BOOST_TEST(PowScalar{0}.gradient(dy, x) == 0);
  }
  for_each_function(Unary{}, [&](auto f) {
    using F = decltype(f);
    if constexpr (!std::is_same_v<F, Step> && !std::is_same_v<F, Sign> &&
                  !std::is_same_v<F, Inside>) {
      for_each_level([&](Isa isa) {
        Array<T> x(35), y(35);
        for (int64_t i = 0; i < 35; ++i) x[i] = i % 3 == 1 ? nan : T(0.5);
        table_for<ElementwiseKernels<T>>(isa).unary[index_of<F>(Unary{})](&f, 35, x.data(),
                                                                          y.data());
        for (int64_t i = 0; i < 35; ++i) BOOST_TEST(std::isnan(y[i]) == (i % 3 == 1), F::name);
      });
    }
  });
  for (const auto& [a, b] : {std::pair{nan, T(1)}, std::pair{T(1), nan}}) {
    BOOST_TEST(std::isnan(Maximum::value(a, b)));
    BOOST_TEST(std::isnan(Minimum::value(a, b)));
  }
  BOOST_TEST(Softplus{}.value(T(200)) == 200);
  BOOST_TEST(Sigmoid{}.value(T(-1000)) == 0);
}

namespace {

/// b's strides as NumPy broadcasts; `order` says how a lies in memory, from outermost to innermost.
BroadcastLayout layout_of(const std::vector<int64_t>& sizes, const std::vector<int>& a_order,
                          const std::vector<bool>& b_repeats, int64_t a_step) {
  BroadcastLayout l;
  l.ndim = static_cast<int>(sizes.size());
  int64_t stride = a_step;
  for (size_t i = sizes.size(); i-- > 0;) {
    const int dim = a_order[i];
    l.a_strides[dim] = stride;
    stride *= sizes[static_cast<size_t>(dim)];
  }
  stride = 1;
  for (int i = l.ndim - 1; i >= 0; --i) {
    const auto k = static_cast<size_t>(i);
    l.sizes[i] = sizes[k];
    l.b_strides[i] = b_repeats[k] ? 0 : stride;
    if (!b_repeats[k]) stride *= sizes[k];
  }
  return l;
}

/// Every way of repeating b, with a as it is, with its loops reversed and with gaps between
/// elements.
std::vector<BroadcastLayout> layouts() {
  std::vector<BroadcastLayout> all;
  const std::vector<std::vector<int64_t>> shapes = {{},        {1},      {7},         {0, 3},
                                                    {5, 1},    {19, 23}, {3, 1, 5},   {40, 10},
                                                    {3, 5, 7}, {70, 66}, {3, 4, 5, 6}};
  for (const auto& sizes : shapes) {
    const size_t n = sizes.size();
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    for (unsigned mask = 0; mask < 1u << n; ++mask) {
      std::vector<bool> repeats(n);
      for (size_t i = 0; i < n; ++i) repeats[i] = mask >> i & 1;
      all.push_back(layout_of(sizes, order, repeats, 1));
      all.push_back(layout_of(sizes, order, repeats, 3));
      all.push_back(layout_of(sizes, {order.rbegin(), order.rend()}, repeats, 1));
    }
  }
  return all;
}

int64_t numel(const BroadcastLayout& l) { return naive::numel(l.ndim, l.sizes); }

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(broadcasts_are_their_definition, T, Scalars) {
  const Array<T> a = random<T>(20000, 0.2, 2, 3), b = random<T>(20000, 0.2, 2, 4);
  const auto try_function = [&](auto f, const BroadcastLayout& l, const T* p, const T* q,
                                const int64_t* p_strides, const int64_t* q_strides) {
    using F = decltype(f);
    BroadcastLayout layout = l;
    std::copy_n(p_strides, l.ndim, layout.a_strides);
    std::copy_n(q_strides, l.ndim, layout.b_strides);
    Array<T> y(numel(l)), expected(numel(l));
    binary_broadcast<F>(layout, p, q, y.data());
    naive::broadcast([](T x, T z) { return F::value(x, z); }, layout, p, q, expected.data());
    for (int64_t i = 0; i < y.n; ++i) BOOST_TEST(close(y[i], expected[i], kRounding<T>));
  };
  for (const BroadcastLayout& l : layouts()) {
    try_function(Sub{}, l, a.data(), b.data(), l.a_strides, l.b_strides);
    try_function(Sub{}, l, b.data(), a.data(), l.b_strides, l.a_strides);
  }
  const BroadcastLayout l = layout_of({13, 17}, {0, 1}, {true, false}, 1);
  for_each_function(functions::Binary{}, [&](auto f) {
    try_function(f, l, a.data(), b.data(), l.a_strides, l.b_strides);
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(binary_rows_at_every_level, T, Scalars) {
  for_each_level([&](Isa isa) {
    for (int64_t columns : {1, 5, 10, 63, 64, 100}) {
      for (int kind = 0; kind < 6; ++kind) {
        const int64_t rows = 37;
        const BinaryRows r{rows,
                           columns,
                           kind == 4 ? columns + 2 : columns,
                           kind != 1,
                           kind == 0 || kind == 3 ? columns
                           : kind == 5            ? 1
                                                  : 0,
                           kind != 3 && kind != 5};
        const Array<T> a = random<T>(rows * (columns + 2), -1, 1, 5),
                       b = random<T>(rows * columns, -1, 1, 6);
        Array<T> y(rows * columns + 1);
        y[y.n - 1] = 77;
        table_for<ElementwiseKernels<T>>(isa).binary[index_of<Sub>(functions::Binary{})](
            r, a.data(), b.data(), y.data());
        for (int64_t i = 0; i < rows * columns; ++i) {
          const int64_t row = i / columns, column = i % columns;
          BOOST_TEST(y[i] == a[row * r.a_row + column * r.a_column] -
                                 b[row * r.b_row + column * r.b_column]);
        }
        BOOST_TEST(y[y.n - 1] == 77);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(flat_operands_of_any_stride, T, Scalars) {
  const Array<T> a = random<T>(3000, -1, 1, 7), b = random<T>(3000, -1, 1, 8);
  for (int64_t n : kSizes)
    for (int64_t stride_a : {0, 1, 3})
      for (int64_t stride_b : {0, 1, 2}) {
        Array<T> y(n);
        binary<Sub>(n, a.data(), stride_a, b.data(), stride_b, y.data());
        for (int64_t i = 0; i < n; ++i) BOOST_TEST(y[i] == a[i * stride_a] - b[i * stride_b]);
      }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(comparisons_and_choices_are_their_definition, T, Everything) {
  Array<T> a = random<T>(20000, 0, 4, 9), b = random<T>(20000, 0, 4, 10);
  for (int64_t i = 0; i < a.n; i += 3) a[i] = b[i];
  if constexpr (std::is_floating_point_v<T>) a[4] = b[5] = static_cast<T>(kNan);
  const Array<bool> c = random<bool>(20000, 0, 1, 11);
  for (const BroadcastLayout& l : layouts()) {
    const auto try_one = [&](Compare op, auto definition) {
      Array<bool> y(numel(l)), expected(numel(l));
      compare(op, l, a.data(), b.data(), y.data());
      naive::broadcast(definition, l, a.data(), b.data(), expected.data());
      BOOST_TEST((y == expected));
    };
    try_one(Compare::less, [](T x, T z) { return x < z; });
    try_one(Compare::less_equal, [](T x, T z) { return x <= z; });
    try_one(Compare::greater, [](T x, T z) { return x > z; });
    try_one(Compare::greater_equal, [](T x, T z) { return x >= z; });
    try_one(Compare::equal, [](T x, T z) { return x == z; });
    try_one(Compare::not_equal, [](T x, T z) { return x != z; });

    WhereLayout w{l.ndim, {}, {}, {}, {}};
    for (int turn = 0; turn < 3; ++turn) {
      const int64_t* strides[] = {l.a_strides, l.b_strides, l.b_strides};
      std::copy_n(l.sizes, l.ndim, w.sizes);
      std::copy_n(strides[turn], l.ndim, w.c_strides);
      std::copy_n(strides[(turn + 1) % 3], l.ndim, w.a_strides);
      std::copy_n(strides[(turn + 2) % 3], l.ndim, w.b_strides);
      Array<T> y(numel(l)), expected(numel(l));
      where(w, c.data(), a.data(), b.data(), y.data());
      naive::where(w, c.data(), a.data(), b.data(), expected.data());
      BOOST_TEST((y == expected));
    }
  }
}

// Sums, differences and products modulo 2^64, by 128 bits; of bool, or and and.
BOOST_AUTO_TEST_CASE(integers_are_their_definition) {
  __extension__ typedef __int128 Exact;
  constexpr int64_t kEnds[] = {std::numeric_limits<int64_t>::min(),
                               std::numeric_limits<int64_t>::max(), -1, 0, 1};
  Array<int64_t> a = random<int64_t>(20000, -9, 9, 9), b = random<int64_t>(20000, -9, 9, 10);
  for (int64_t i = 0; i < a.n; i += 3) a[i] = kEnds[i % 5], b[i] = kEnds[i / 5 % 5];
  const Array<bool> p = random<bool>(20000, 0, 1, 11), q = random<bool>(20000, 0, 1, 12);
  const auto low_bits = [](Exact x) { return static_cast<int64_t>(static_cast<uint64_t>(x)); };
  const auto try_one = [&](auto f, auto of_numbers, auto of_truths) {
    using F = decltype(f);
    for (const BroadcastLayout& l : layouts()) {
      Array<int64_t> y(numel(l)), expected(numel(l));
      integers<F>(l, a.data(), b.data(), y.data());
      naive::broadcast([&](int64_t x, int64_t z) { return low_bits(of_numbers(x, z)); }, l,
                       a.data(), b.data(), expected.data());
      BOOST_TEST((y == expected));
      Array<bool> truths(numel(l)), expected_truths(numel(l));
      integers<F>(l, p.data(), q.data(), truths.data());
      naive::broadcast(of_truths, l, p.data(), q.data(), expected_truths.data());
      BOOST_TEST((truths == expected_truths));
    }
  };
  const auto either = [](bool x, bool z) { return x || z; };
  const auto both = [](bool x, bool z) { return x && z; };
  try_one(
      functions::Add{}, [](Exact x, Exact z) { return x + z; }, either);
  try_one(
      functions::Mul{}, [](Exact x, Exact z) { return x * z; }, both);
  try_one(
      functions::Maximum{}, [](Exact x, Exact z) { return x > z ? x : z; }, either);
  try_one(
      functions::Minimum{}, [](Exact x, Exact z) { return x < z ? x : z; }, both);
  try_one(
      functions::Sub{}, [](Exact x, Exact z) { return x - z; },
      [](bool x, bool z) { return x != z; });
}

BOOST_AUTO_TEST_CASE(round_is_to_the_nearest_even_at_every_level) {
  Array<float> x = random<float>(4099, -9, 9, 3), y(4099);
  constexpr float kTies[] = {-2.5f,  -1.5f,       -0.5f,   0.5f,       1.5f,        2.5f,
                             -0.0f,  0.0f,        0x1p23f, 0x1.8p23f,  8388609.0f,  1e30f,
                             -1e30f, 0.49999997f, -0.3f,   8388607.5f, -8388606.5f, 4194304.5f};
  std::copy(std::begin(kTies), std::end(kTies), x.data());
  for_each_level([&](Isa isa) {
    const Round f;
    table_for<ElementwiseKernels<float>>(isa).unary[index_of<Round>(Unary{})](&f, x.n, x.data(),
                                                                              y.data());
    for (int64_t i = 0; i < x.n; ++i) {
      BOOST_TEST(y[i] == std::nearbyint(x[i]), x[i]);
      BOOST_TEST(std::signbit(y[i]) == std::signbit(x[i]), x[i]);
    }
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(copies_are_their_definition, T, Everything) {
  const std::vector<std::vector<int64_t>> shapes = {
      {}, {1}, {9}, {0, 4}, {70, 131}, {3, 67, 5}, {5, 2, 9, 4}, {3, 4, 2, 5, 3}};
  for (const auto& sizes : shapes) {
    std::vector<int> order(sizes.size());
    std::iota(order.begin(), order.end(), 0);
    const int ndim = static_cast<int>(sizes.size());
    do {
      for (int64_t gap : {0, 1, 2}) {  // 0: the last loop in memory repeats one element
        int64_t strides[8], stride = gap;
        for (int i = ndim - 1; i >= 0; --i) {
          const auto dim = static_cast<size_t>(order[static_cast<size_t>(i)]);
          strides[dim] = stride;
          stride = stride == 0 ? 1 : stride * sizes[dim];
        }
        const int64_t n = naive::numel(ndim, sizes.data());
        const Array<T> x = random<T>(2 * n + 2, -50, 50, 12);
        Array<T> y(n), expected(n);
        copy_strided(sizeof(T), ndim, sizes.data(), reinterpret_cast<const char*>(x.data()),
                     strides, reinterpret_cast<char*>(y.data()));
        naive::copy_strided(ndim, sizes.data(), x.data(), strides, expected.data());
        BOOST_TEST((y == expected));
        if (gap == 0) continue;
        Array<T> z(2 * n + 2), expected_z(2 * n + 2);
        copy_to_strided(sizeof(T), ndim, sizes.data(), reinterpret_cast<const char*>(x.data()),
                        reinterpret_cast<char*>(z.data()), strides);
        naive::copy_to_strided(ndim, sizes.data(), x.data(), expected_z.data(), strides);
        BOOST_TEST((z == expected_z));
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(transposed_at_every_level, T, Scalars) {
  for_each_level([&](Isa isa) {
    const int64_t rows = 37, columns = 29;
    const Array<T> x = random<T>(rows * 40, -1, 1, 13);
    Array<T> y(columns * 50);
    table_for<ElementwiseKernels<T>>(isa).transpose(x.data(), 40, rows, columns, y.data(), 50);
    for (int64_t i = 0; i < columns * 50; ++i)
      BOOST_TEST(y[i] == (i % 50 < rows ? x[i % 50 * 40 + i / 50] : T(0)));
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(casts_fill_accumulate_scale, T, Scalars) {
  const double values[] = {-2.75, -1, 0, 0.4, 1, 3.99, 1e6};
  Array<T> x(7), z(7);
  Array<double> wide(7);
  Array<int64_t> integers(7);
  Array<bool> truth(7);
  for (int64_t i = 0; i < 7; ++i) x[i] = static_cast<T>(values[i]);
  cast(7, x.data(), wide.data());
  cast(7, x.data(), integers.data());
  cast(7, x.data(), truth.data());
  cast(7, truth.data(), z.data());
  for (int64_t i = 0; i < 7; ++i) {
    BOOST_TEST(wide[i] == static_cast<double>(x[i]));
    BOOST_TEST(integers[i] == static_cast<int64_t>(values[i]));
    BOOST_TEST(truth[i] == (i != 2));
    BOOST_TEST(z[i] == (i != 2));
  }
  for_each_level([&](Isa isa) {
    for (int64_t n : kSizes) {
      const Array<T> p = random<T>(n, -1, 1, 14);
      Array<T> q = random<T>(n, -1, 1, 15), sum(n + 1);
      sum[n] = 77;
      std::copy_n(q.data(), n, sum.data());
      table_for<ElementwiseKernels<T>>(isa).accumulate(n, p.data(), sum.data());
      table_for<ElementwiseKernels<T>>(isa).scale(n, T(1.5), q.data());
      Array<T> product(n);
      std::copy_n(p.data(), n, product.data());
      table_for<ElementwiseKernels<T>>(isa).multiply(n, q.data(), product.data());
      const Array<T> again = random<T>(n, -1, 1, 15);
      for (int64_t i = 0; i < n; ++i) {
        BOOST_TEST(sum[i] == again[i] + p[i]);
        BOOST_TEST(q[i] == again[i] * T(1.5));
        BOOST_TEST(product[i] == p[i] * q[i]);
      }
      BOOST_TEST(sum[n] == 77);
    }
  });
  for (int64_t n : kSizes) {
    const Array<T> q = random<T>(n, -1, 1, 15);
    Array<T> sum(n + 1);
    sum[n] = 77;
    std::copy_n(q.data(), n, sum.data());
    add_value(n, T(0.3), sum.data());
    for (int64_t i = 0; i < n; ++i) BOOST_TEST(sum[i] == q[i] + T(0.3));
    BOOST_TEST(sum[n] == 77);
  }
  Array<T> filled(100);
  fill(99, T(2.5), filled.data());
  for (int64_t i = 0; i < 100; ++i) BOOST_TEST(filled[i] == (i < 99 ? T(2.5) : T(0)));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(casts_and_fills_are_their_definition, T, Everything) {
  const auto cast_to = [](auto to, int64_t n) {
    using To = decltype(to);
    const Array<T> x = random<T>(n, -50, 50, 18);
    Array<To> y(n + 1), expected(n + 1);
    y[n] = expected[n] = To(1);
    cast(n, x.data(), y.data());
    naive::cast(n, x.data(), expected.data());
    BOOST_TEST((y == expected));
  };
  for (int64_t n : {0, 1, 7, 33, 257, 1 << 15, 100003}) {
    cast_to(float(), n);
    cast_to(double(), n);
    cast_to(int64_t(), n);
    cast_to(bool(), n);
    Array<T> y(n + 1), expected(n + 1);
    fill(n, T(3), y.data());
    naive::fill(n, T(3), expected.data());
    BOOST_TEST((y == expected));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(sums_and_multiples_in_place_are_their_definition, T, Scalars) {
  for (int64_t n : {0, 1, 7, 33, 257, 1 << 15, 100003}) {
    const Array<T> x = random<T>(n, -1, 1, 19);
    Array<T> y = random<T>(n, -1, 1, 20), expected = random<T>(n, -1, 1, 20);
    accumulate(n, x.data(), y.data());
    add_value(n, T(0.3), y.data());
    scale(n, T(1.5), y.data());
    naive::accumulate(n, x.data(), expected.data());
    naive::add_value(n, T(0.3), expected.data());
    naive::scale(n, T(1.5), expected.data());
    BOOST_TEST((y == expected));
  }
}

// Where the condition does not hold there is no product: NaN does not pass.
BOOST_AUTO_TEST_CASE_TEMPLATE(scale_where_is_its_definition, T, Scalars) {
  for (int64_t n : {0, 1, 7, 33, 1000, 100001}) {
    Array<T> x = random<T>(n, -2, 2, 18), y(n), expected(n);
    Array<bool> c(n);
    for (int64_t i = 0; i < n; ++i) c[i] = i % 3 != 1;
    for (int64_t i = 1; i < n; i += 6) x[i] = static_cast<T>(kNan);
    scale_where(n, c.data(), T(1.3), x.data(), y.data());
    naive::scale_where(n, c.data(), T(1.3), x.data(), expected.data());
    BOOST_TEST((y == expected));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(integer_powers_are_their_definition, T, Scalars) {
  for (int n = -kLargestIntegerPower; n <= kLargestIntegerPower; ++n)
    for (int64_t count : {0, 1, 7, 33, 1025, 100003}) {
      Array<T> x = random<T>(count, 0.3, 2, 21);
      for (int64_t i = 0; i < count; i += 2) x[i] = -x[i];
      const Array<T> dy = random<T>(count, -2, 2, 22);
      Array<T> y(count + 1), dx(count + 1);
      y[count] = dx[count] = 77;
      integer_power(count, n, x.data(), y.data());
      integer_power_backward(count, n, dy.data(), x.data(), dx.data());
      for (int64_t i = 0; i < count; ++i) {
        const long double exact = x[i], power = std::pow(exact, n),
                          slope = n * std::pow(exact, n - 1) * static_cast<long double>(dy[i]);
        BOOST_REQUIRE(std::abs(static_cast<long double>(y[i]) - power) <=
                      kRounding<T> * std::abs(power));
        BOOST_REQUIRE(std::abs(static_cast<long double>(dx[i]) - slope) <=
                      2 * kRounding<T> * std::abs(slope));
      }
      BOOST_TEST((y[count] == 77 && dx[count] == 77));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(bitwise_the_same_on_any_number_of_threads, T, Scalars) {
  const int64_t rows = 331, columns = 511, n = rows * columns;
  const Array<T> x = random<T>(n, -2, 2, 16), b = random<T>(n, -2, 2, 17);
  const int64_t permuted[] = {columns, rows}, strides[] = {1, columns};
  std::vector<Array<T>> first;
  for (int count : {1, 2, 3}) {
    set_threads(count);
    std::vector<Array<T>> results;
    for (int i = 0; i < 6; ++i) results.emplace_back(n);
    unary(GeluErf{}, n, x.data(), results[0].data());
    unary_backward(Tanh{}, n, b.data(), x.data(), results[1].data());
    binary<Mul>(n, x.data(), 1, b.data(), 1, results[2].data());
    binary_broadcast<Add>({2, {rows, columns}, {columns, 1}, {0, 1}}, x.data(), b.data(),
                          results[3].data());
    binary_broadcast<Sub>({2, {columns, rows}, {1, columns}, {0, 1}}, x.data(), b.data(),
                          results[4].data());
    copy_strided(sizeof(T), 2, permuted, reinterpret_cast<const char*>(x.data()), strides,
                 reinterpret_cast<char*>(results[5].data()));
    accumulate(n, x.data(), results[5].data());
    if (count == 1) {
      first = std::move(results);
      for (int64_t i = 0; i < n; ++i) {
        BOOST_REQUIRE(first[3][i] == x[i] + b[i % columns]);
        const T transposed = x[i % rows * columns + i / rows];
        BOOST_REQUIRE(first[4][i] == transposed - b[i % rows]);
        BOOST_REQUIRE(first[5][i] == transposed + x[i]);
      }
    } else {
      for (size_t i = 0; i < first.size(); ++i) BOOST_TEST((results[i] == first[i]));
    }
  }
}

#define BOOST_TEST_MODULE gemm
#include <gradus/base/error.h>
#include <gradus/kernels/gemm/blas.h>
#include <gradus/kernels/gemm/gemm.h>
#include <gradus/kernels/gemm/naive.h>
#include <gradus/kernels/gemm/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/loops.h>
#include <gradus/tensor/runtime.h>

#include <array>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/checks.h"

using namespace gradus;
using namespace gradus::kernels;
using Scalars = boost::mpl::list<float, double>;

namespace {

struct Case {
  int64_t m, n, k;
  bool ta, tb;
  double alpha, beta;
  int64_t pad;  // how much longer a stored row is than it need be
};

template <class T>
struct Data {
  Case shape;
  int64_t lda, ldb, ldc;
  std::vector<T> a, b, c;

  explicit Data(const Case& s)
      : shape(s),
        lda((s.ta ? s.m : s.k) + s.pad),
        ldb((s.tb ? s.k : s.n) + 2 * s.pad),
        ldc(s.n + 3 * s.pad) {
    std::mt19937 random(static_cast<unsigned>(s.m * 7 + s.n * 5 + s.k * 3 + s.ta * 2 + s.tb));
    std::uniform_real_distribution<double> uniform(-1, 1);
    const auto fill = [&](std::vector<T>& v, int64_t size) {
      v.resize(static_cast<size_t>(size));
      for (T& x : v) x = static_cast<T>(uniform(random));
    };
    fill(a, (s.ta ? s.k : s.m) * lda);
    fill(b, (s.tb ? s.n : s.k) * ldb);
    fill(c, s.m * ldc);
    if (s.beta == 0)
      for (T& x : c) x = std::numeric_limits<T>::quiet_NaN();
  }

  GemmProblem<T> problem(std::vector<T>& out) const {
    return {Transpose(shape.ta),
            Transpose(shape.tb),
            shape.m,
            shape.n,
            shape.k,
            static_cast<T>(shape.alpha),
            a.data(),
            lda,
            b.data(),
            ldb,
            static_cast<T>(shape.beta),
            out.data(),
            ldc};
  }

  std::vector<T> product(GemmPath path) const {
    std::vector<T> out = c;
    gemm(problem(out), path);
    return out;
  }

  /// Largest error against the definition in f64, in units of the bound k eps sum |a||b| (+ the
  /// beta term), over every `step`-th row; infinite where an element between them was touched.
  double error(const std::vector<T>& out, int64_t step = 1) const {
    double worst = 0;
    for (int64_t i = 0; i < shape.m; i += step) {
      for (int64_t j = 0; j < ldc; ++j) {
        const auto at = static_cast<size_t>(i * ldc + j);
        if (j >= shape.n) {
          if (std::memcmp(&out[at], &c[at], sizeof(T)) != 0)
            return std::numeric_limits<double>::infinity();
          continue;
        }
        double sum = 0, size = 0;
        for (int64_t p = 0; p < shape.k; ++p) {
          const double x = a[static_cast<size_t>(shape.ta ? p * lda + i : i * lda + p)];
          const double y = b[static_cast<size_t>(shape.tb ? j * ldb + p : p * ldb + j)];
          sum += x * y;
          size += std::abs(x * y);
        }
        const double alpha = static_cast<T>(shape.alpha), beta = static_cast<T>(shape.beta);
        const double old = shape.beta == 0 ? 0 : beta * c[at];
        const double bound = static_cast<double>(shape.k + 3) * std::numeric_limits<T>::epsilon() *
                             (std::abs(alpha) * size + std::abs(old));
        const double difference = std::abs(out[at] - (alpha * sum + old));
        if (!(difference <= bound)) return std::numeric_limits<double>::infinity();
        if (bound > 0) worst = std::max(worst, difference / bound);
      }
    }
    return worst;
  }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const int64_t sizes[][3] = {{1, 1, 1},    {3, 5, 7},     {16, 2, 4},    {4, 16, 16},
                              {13, 17, 19}, {1, 129, 33},  {37, 1, 65},   {25, 50, 31},
                              {12, 64, 48}, {47, 67, 300}, {31, 97, 259}, {1, 21, 71}};
  for (const auto& size : sizes)
    for (int t = 0; t < 4; ++t)
      for (double beta : {0.0, 1.0, -0.75})
        all.push_back({size[0], size[1], size[2], t / 2 == 1, t % 2 == 1, beta == 1 ? 1.0 : 1.25,
                       beta, beta == 1 ? 0 : 3});
  return all;
}

/// Cut into tiles, or along k.
const Case kLarge[] = {
    {150, 190, 130, false, false, 1.0, 0.0, 0}, {150, 190, 130, false, true, 0.5, 1.5, 5},
    {190, 150, 130, true, false, 1.0, 0.0, 1},  {131, 257, 129, true, true, 1.0, 0.25, 0},
    {19, 23, 20011, false, true, 1.0, 0.5, 1},  {23, 19, 9001, true, false, 1.0, 0.0, 0},
    {301, 211, 307, false, false, 1.0, 0.0, 2}, {259, 513, 301, false, true, 1.0, 1.0, 0},
    {9, 701, 709, false, true, 1.0, 0.0, 1},    {521, 523, 509, false, false, 1.0, 0.0, 0}};
const Case kLargest = {1301, 1303, 1297, false, false, 1.0, 0.0, 0};

constexpr GemmPath kPaths[] = {GemmPath::automatic, GemmPath::in_place, GemmPath::panels,
                               GemmPath::copied,    GemmPath::packed,   GemmPath::openblas,
                               GemmPath::dots};

bool serves(GemmPath path, const Case& s) {
  return applies(path, Transpose(s.ta), Transpose(s.tb));
}

template <class T>
struct Aligned {
  explicit Aligned(int64_t size)
      : data(static_cast<T*>(
            ::operator new (static_cast<size_t>(size) * sizeof(T), std::align_val_t{64}))) {}
  Aligned(const Aligned&) = delete;
  ~Aligned() { ::operator delete (data, std::align_val_t{64}); }
  T* data;
};

template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(every_path_is_the_definition, T, Scalars) {
  set_threads(2);
  std::set<GemmPath> served;
  for (GemmPath path : kPaths) {
    const auto try_one = [&](const Case& s) {
      if (!serves(path, s)) return;
      served.insert(path);
      const Data<T> data(s);
      BOOST_TEST(data.error(data.product(path)) <= 1.0,
                 name(path) << " " << s.m << "x" << s.n << "x" << s.k << " ta " << s.ta << " tb "
                            << s.tb << " beta " << s.beta);
    };
    for (const Case& s : cases()) try_one(s);
    for (const Case& s : kLarge) try_one(s);
  }
  BOOST_TEST(served.size() == std::size(kPaths) - !blas());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_row_is_a_c_of_equal_rows, T, Scalars) {
  set_threads(2);
  const auto try_one = [&](const Case& s, GemmPath path) {
    if (!serves(path, s)) return;
    Data<T> data(s);
    const std::vector<T> row(data.c.begin(), data.c.begin() + s.n);
    for (int64_t i = 0; i < s.m; ++i)
      std::copy(row.begin(), row.end(), data.c.begin() + i * data.ldc);
    const std::vector<T> expected = data.product(path);
    for (int64_t i = 0; i < s.m; ++i)
      std::fill_n(data.c.begin() + i * data.ldc, s.n, std::numeric_limits<T>::quiet_NaN());
    std::vector<T> out = data.c;
    GemmProblem<T> g = data.problem(out);
    g.row = row.data();
    gemm(g, path);
    BOOST_TEST(same_bits(out, expected), name(path) << " " << s.m << "x" << s.n << "x" << s.k
                                                    << " ta " << s.ta << " tb " << s.tb);
  };
  for (GemmPath path : kPaths) {
    for (const Case& s : cases()) try_one(s, path);
    for (const Case& s : kLarge) try_one(s, path);
    for (double alpha : {0.0, 1.0}) try_one({3, 5, 0, false, false, alpha, 1.5, 1}, path);
  }
}

// Elements of every size; an infinity spoils its row of C, a NaN its column, and nothing else.
BOOST_AUTO_TEST_CASE_TEMPLATE(extreme_values, T, Scalars) {
  for (GemmPath path : kPaths)
    for (int t = 0; t < 4; ++t)
      for (const auto& [m, n, k] : {std::array{37, 29, 41}, {131, 67, 259}, {5, 129, 33}}) {
        Data<T> data({m, n, k, t / 2 == 1, t % 2 == 1, 1.25, 0.5, 3});
        if (!serves(path, data.shape)) continue;
        for (size_t i = 0; i < data.a.size(); ++i)
          data.a[i] = std::ldexp(data.a[i], 15 * (static_cast<int>(i % 7) - 3));
        for (size_t i = 0; i < data.b.size(); ++i)
          data.b[i] = std::ldexp(data.b[i], 15 * (static_cast<int>(i % 5) - 2));
        const std::vector<T> clean = data.product(path);
        BOOST_TEST(data.error(clean) <= 1.0, name(path) << " " << m << "x" << n << "x" << k);
        const int64_t row = m - 2, column = n - 3;
        data.a[static_cast<size_t>(t / 2 ? data.lda + row : row * data.lda + 1)] =
            std::numeric_limits<T>::infinity();
        data.b[static_cast<size_t>(t % 2 ? column * data.ldb + 3 : 3 * data.ldb + column)] =
            std::numeric_limits<T>::quiet_NaN();
        const std::vector<T> spoiled = data.product(path);
        bool right = true;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            const auto at = static_cast<size_t>(i * data.ldc + j);
            right = right && (j == column ? std::isnan(spoiled[at])
                              : i == row  ? std::isinf(spoiled[at])
                                          : spoiled[at] == clean[at]);
          }
        BOOST_TEST(right, name(path) << " " << m << "x" << n << "x" << k << " t " << t);
      }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_naive_form_is_the_definition, T, Scalars) {
  for (const Case& s : cases()) {
    const Data<T> data(s);
    std::vector<T> out = data.c;
    naive::gemm(data.problem(out));
    BOOST_TEST(data.error(out) <= 1.0);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(every_level_is_the_definition, T, Scalars) {
  for (Isa isa : kLevels) {
    if (!supports(isa)) continue;
    const GemmKernels<T>& table = table_for<GemmKernels<T>>(isa);
    for (const Case& s : cases()) {
      const Data<T> data(s);
      std::vector<T> out = data.c;
      const auto check = [&](const char* way) {
        BOOST_TEST(data.error(out) <= 1.0,
                   name(isa) << " " << way << " " << s.m << "x" << s.n << "x" << s.k);
        out = data.c;
      };
      if (s.tb && !s.ta) {
        table.dots(data.problem(out));
        check("dots");
      }
      if (!s.tb) {
        table.in_place(data.problem(out));
        check("in place");
      }
      table.panels(data.problem(out));
      check("panels");
      if (s.ta) {
        const Aligned<T> workspace(table.copied_workspace(s.m));
        table.copied(data.problem(out), workspace.data);
        check("copied");
      }
      const Aligned<T> b(table.packed_size(s.n, s.k));
      table.pack(data.problem(out), b.data);
      table.prepacked(data.problem(out), b.data);
      check("prepacked");
    }
  }
}

// All but `packed`, which recurrences ask for (gemm_packed).
BOOST_AUTO_TEST_CASE_TEMPLATE(every_path_is_selected_by_a_case, T, Scalars) {
  std::set<GemmPath> selected;
  const auto select = [&](const Case& s) {
    selected.insert(gemm_path<T>(Transpose(s.ta), Transpose(s.tb), s.m, s.n, s.k));
  };
  for (const Case& s : cases()) select(s);
  for (const Case& s : kLarge) select(s);
  select(kLargest);
  for (GemmPath path : {GemmPath::in_place, GemmPath::panels, GemmPath::copied, GemmPath::dots})
    BOOST_TEST(selected.count(path) == 1u, name(path));
  if (blas()) BOOST_TEST(selected.count(GemmPath::openblas) == 1u);
}

// How C is cut, and how B is read, does not show.
BOOST_AUTO_TEST_CASE_TEMPLATE(ways_of_ours_that_give_the_same_bits, T, Scalars) {
  set_threads(2);
  const auto try_one = [](const Case& s) {
    const Data<T> data(s);
    std::vector<T> uncut = data.c;
    gemm_uncut(data.problem(uncut), GemmPath::panels);
    BOOST_TEST(data.error(uncut) <= 1.0);
    for (GemmPath path : {GemmPath::in_place, GemmPath::panels, GemmPath::packed})
      if (serves(path, s))
        BOOST_TEST(same_bits(data.product(path), uncut),
                   name(path) << " " << s.m << "x" << s.n << "x" << s.k);
  };
  for (const Case& s : cases()) try_one(s);
  for (const Case& s : kLarge)
    if (s.k < 8192) try_one(s);  // a longer k is cut, which shows
}

BOOST_AUTO_TEST_CASE(a_path_that_cannot_serve_is_an_error) {
  const Data<float> data({3, 5, 7, false, true, 1.0, 0.0, 0});
  for (GemmPath path : {GemmPath::in_place, GemmPath::copied})
    BOOST_CHECK_EXCEPTION(data.product(path), Error, [&](const Error& error) {
      return std::string(error.what()).find(name(path)) != std::string::npos;
    });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_largest_products_go_to_openblas, T, Scalars) {
  if (!blas()) return;
  const Data<T> data(kLargest);
  set_threads(1);
  const std::vector<T> one = data.product(GemmPath::automatic);
  BOOST_TEST(data.error(one, 100) <= 1.0);
  set_threads(2);
  BOOST_TEST(same_bits(one, data.product(GemmPath::automatic)));
}

BOOST_TEST_DECORATOR(*test::repeats)
BOOST_AUTO_TEST_CASE_TEMPLATE(bitwise_the_same_on_any_number_of_threads, T, Scalars) {
  for (GemmPath path : kPaths) {
    for (const Case& s : kLarge) {
      if (!serves(path, s)) continue;
      const Data<T> data(s);
      set_threads(1);
      const std::vector<T> one = data.product(path);
      for (int count : {2, 3, 5}) {
        set_threads(count);
        BOOST_TEST(same_bits(one, data.product(path)),
                   name(path) << " " << s.m << "x" << s.n << "x" << s.k);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(batches_are_single_products, T, Scalars) {
  set_threads(2);
  struct Batch {
    int64_t batch, m, n, k;
  };
  for (const Batch& s : {Batch{3, 5, 7, 9}, Batch{70, 11, 13, 17}, Batch{3, 110, 120, 130},
                         Batch{17, 110, 90, 130}}) {
    for (int broadcast = 0; broadcast < 3; ++broadcast) {  // none, a, b
      const int64_t stride_a = broadcast == 1 ? 0 : s.m * s.k + 2,
                    stride_b = broadcast == 2 ? 0 : s.k * s.n + 1;
      const int64_t stride_c = s.m * s.n + 3;
      std::mt19937 random(5);
      std::uniform_real_distribution<double> uniform(-1, 1);
      std::vector<T> a(static_cast<size_t>(s.batch * stride_a + s.m * s.k)),
          b(static_cast<size_t>(s.batch * stride_b + s.k * s.n)),
          c(static_cast<size_t>(s.batch * stride_c));
      for (auto* v : {&a, &b, &c})
        for (T& x : *v) x = static_cast<T>(uniform(random));
      std::vector<T> expected = c;
      for (int64_t i = 0; i < s.batch; ++i)
        gemm<T>({Transpose::no, Transpose::yes, s.m, s.n, s.k, T(1.5), a.data() + i * stride_a, s.k,
                 b.data() + i * stride_b, s.k, T(0.5), expected.data() + i * stride_c, s.n});
      gemm_batched<T>({Transpose::no, Transpose::yes, s.m, s.n, s.k, T(1.5), a.data(), s.k,
                       b.data(), s.k, T(0.5), c.data(), s.n},
                      {1, {s.batch}, {{stride_a}, {stride_b}, {stride_c}}});
      BOOST_TEST(same_bits(c, expected));
    }
  }
}

// Several loops of products: that repeat A or B, that lie apart, and that are rows of one product.
BOOST_AUTO_TEST_CASE_TEMPLATE(loops_of_batches_are_single_products, T, Scalars) {
  constexpr int64_t m = 5, n = 7, k = 4, x = m * k, w = k * n, y = m * n;
  const Loops<3> batches[] = {{0, {}, {{}, {}, {}}},
                              {1, {1}, {{0}, {0}, {0}}},
                              {2, {3, 4}, {{4 * x, x}, {4 * w, w}, {4 * y, y}}},
                              {2, {3, 4}, {{4 * x, x}, {0, 0}, {4 * y, y}}},
                              {2, {3, 4}, {{x, 3 * x}, {0, 0}, {4 * y, y}}},
                              {3, {2, 4, 3}, {{12 * x, 3 * x, x}, {0, w, 0}, {12 * y, 3 * y, y}}},
                              {3, {2, 4, 3}, {{0, x, 0}, {3 * w, 0, w}, {12 * y, 3 * y, y}}},
                              {3, {2, 0, 3}, {{x, x, x}, {w, w, w}, {y, y, y}}}};
  std::mt19937 random(6);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> a(24 * x), b(24 * w);
  for (auto* v : {&a, &b})
    for (T& value : *v) value = static_cast<T>(uniform(random));
  for (const Loops<3>& batch : batches)
    for (Transpose ta : {Transpose::no, Transpose::yes}) {
      const GemmProblem<T> g{
          ta, Transpose::no, m,       n, k, T(1), a.data(), ta == Transpose::yes ? m : k, b.data(),
          n,  T(0),          nullptr, n};
      std::vector<T> c(24 * y, T(7)), expected = c;
      for (int64_t i = 0; i < batch.numel(); ++i) {
        const Odometer<3> at(batch, i);
        GemmProblem<T> one = g;
        one.a += at.offsets[0];
        one.b += at.offsets[1];
        one.c = expected.data() + at.offsets[2];
        naive::gemm(one);
      }
      GemmProblem<T> first = g;
      first.c = c.data();
      gemm_batched(first, batch);
      for (size_t i = 0; i < c.size(); ++i)
        BOOST_TEST(std::abs(c[i] - expected[i]) <= 8 * std::numeric_limits<T>::epsilon());
    }
}

// One B for products of several heights, each row's bits whatever others are there.
BOOST_AUTO_TEST_CASE_TEMPLATE(packed_once_for_many_products, T, Scalars) {
  for (bool tb : {false, true}) {
    const Data<T> data({70, 45, 67, false, tb, 1.0, 1.0, 2});
    const Case& s = data.shape;
    const Aligned<T> b(packed_size<T>(s.n, s.k));
    pack<T>(Transpose(tb), s.n, s.k, data.b.data(), data.ldb, b.data);
    std::vector<T> whole = data.c, parts = data.c;
    gemm_packed<T>(s.m, s.n, s.k, data.a.data(), data.lda, b.data, T(1), whole.data(), data.ldc);
    BOOST_TEST(data.error(whole) <= 1.0);
    for (int64_t i = 0, rows = 1; i < s.m; i += rows, rows = std::min(rows + 3, s.m - i))
      gemm_packed<T>(rows, s.n, s.k, data.a.data() + i * data.lda, data.lda, b.data, T(1),
                     parts.data() + i * data.ldc, data.ldc);
    BOOST_TEST(same_bits(whole, parts));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(degenerate_sizes, T, Scalars) {
  for (GemmPath path : kPaths) {
    std::vector<T> c = {1, 2, 3, 4, 5, 6};
    gemm<T>(
        {Transpose::no, Transpose::no, 2, 3, 0, T(1), nullptr, 1, nullptr, 3, T(2), c.data(), 3},
        path);
    BOOST_TEST(c == (std::vector<T>{2, 4, 6, 8, 10, 12}), boost::test_tools::per_element());
    gemm<T>(
        {Transpose::no, Transpose::no, 2, 3, 0, T(1), nullptr, 1, nullptr, 3, T(0), c.data(), 3},
        path);
    BOOST_TEST(c == std::vector<T>(6, T(0)), boost::test_tools::per_element());
    gemm<T>({Transpose::no, Transpose::no, 0, 3, 4, T(1), nullptr, 4, nullptr, 3, T(0), nullptr, 3},
            path);
    gemm_uncut<T>(
        {Transpose::no, Transpose::no, 2, 3, 0, T(1), nullptr, 1, nullptr, 3, T(2), c.data(), 3},
        path);
    BOOST_TEST(c == std::vector<T>(6, T(0)), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(nan_in_an_operand_reaches_c) {
  for (GemmPath path : kPaths) {
    Data<float> data({33, 35, 37, false, false, 1.0, 0.0, 0});
    if (!serves(path, data.shape)) continue;
    data.a[5 * 37 + 36] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> out = data.product(path);
    for (int64_t i = 0; i < 33; ++i)
      BOOST_TEST(std::isnan(out[static_cast<size_t>(i * 35 + 34)]) == (i == 5));
  }
}

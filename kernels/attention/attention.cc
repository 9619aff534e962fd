#include <gradus/kernels/attention/attention.h>
#include <gradus/kernels/attention/visible.h>
#include <gradus/kernels/gemm/gemm.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/long_sum.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>
#include <gradus/kernels/softmax/table.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradus::kernels {
namespace {

// Queries that go against their keys at a time: few enough that their scores stay in the caches,
// and that little of what a causal mask hides is computed.
constexpr int64_t kQueries = 32;

/// f(outer index, inner index) for each attention, spread over the threads.
template <class T, class F>
void for_each_attention(const AttentionProblem<T>& a, F f) {
  parallel_for_rows(a.outer * a.inner, a.queries * a.keys * a.depth, kProductGrain / 2,
                    [&](int64_t begin, int64_t end) {
                      for (int64_t n = begin; n < end; ++n) f(n / a.inner, n % a.inner);
                    });
}

template <class T>
constexpr T kBarrier = -std::numeric_limits<T>::infinity();

/// Whether `count` elements, `stride` apart, are.
template <class T>
bool finite(int64_t count, const T* x, int64_t stride) {
  for (int64_t i = 0; i < count; ++i)
    if (!std::isfinite(x[i * stride])) return false;
  return true;
}

/// One attention's queries from `first` on, and the keys that they may look at: where the bias is
/// -inf, or a causal mask says so, they may not, and what stands there has no influence. As 0 times
/// a number it has none; what is not finite takes the careful way, which a look at one row or
/// column of a product tells, since it spoils all of them.
template <class T>
struct Block {
  Block(const AttentionProblem<T>& problem, int64_t outer, int64_t inner, int64_t first_query)
      : a(problem),
        first(first_query),
        rows(std::min(kQueries, a.queries - first)),
        keys(a.causal ? std::min(first + rows, a.keys) : a.keys),
        q(a.q.at(outer, inner) + first * a.q.row),
        k(a.k.at(outer, inner)),
        v(a.v.at(outer, inner)),
        bias(a.bias.data) {
    if (bias) bias += outer * a.bias.outer + inner * a.bias.inner + first * a.bias.query;
  }

  bool some_hidden() const { return a.causal || bias; }
  /// The keys before which the causal mask lets query i look.
  int64_t end(int64_t i) const { return a.causal ? std::min(first + i + 1, keys) : keys; }
  T bias_at(int64_t i, int64_t j) const { return bias[i * a.bias.query + j * a.bias.key]; }
  bool visible(int64_t i, int64_t j) const {
    return j < end(i) && !(bias && bias_at(i, j) == kBarrier<T>);
  }
  bool sees_nothing(int64_t i) const {
    int64_t j = 0;
    while (j < keys && !visible(i, j)) ++j;
    return j == keys;
  }
  /// x (rows, keys) with `value` where a query may not look.
  void fill_hidden(T* x, T value) const {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < keys; ++j)
        if (!visible(i, j)) x[i * keys + j] = value;
  }

  /// p (rows, keys) = softmax(scale q k^T + bias), 0 where a query may not look. Returns whether
  /// all of q is finite, or nothing is hidden.
  bool weights(T* p) const {
    const bool q_finite = add_up_scores(p);
    softmax(p);
    for (int64_t i = 0; i < rows && keys > 0; ++i) {
      if (!std::isnan(p[i * keys])) continue;
      if (!sees_nothing(i)) return careful_weights(p), q_finite;
      std::fill_n(p + i * keys, keys, T(0));
    }
    return q_finite;
  }

  /// ds (rows, keys) = p (dp - sum over keys of dp p), dp = dy v^T. Returns whether all of dy is
  /// finite, or nothing is hidden.
  bool score_gradients(const T* p, const T* dy, int64_t dy_row, T* dp, T* ds) const {
    const auto backward = [&] {
      kernels<SoftmaxKernels<T>>().softmax_backward(rows, keys, p, dp, ds, false);
    };
    gemm<T>({Transpose::no, Transpose::yes, rows, keys, a.value_depth, T(1), dy, dy_row, v, a.v.row,
             T(0), dp, keys});
    const bool dy_finite = !some_hidden() || keys == 0 || finite(rows, dp, keys);
    backward();
    if (!some_hidden() || keys == 0 || finite(rows, ds, keys)) return dy_finite;
    fill_hidden(dp, T(0));
    backward();
    fill_hidden(ds, T(0));  // in rows with NaN, too
    return dy_finite;
  }

  /// Whether all of x (rows, n) is finite, or nothing is hidden.
  bool rows_are_finite(int64_t n, const T* x, int64_t row) const {
    for (int64_t i = 0; i < rows && some_hidden(); ++i)
      if (!finite(n, x + i * row, 1)) return false;
    return true;
  }

  /// c (rows, n) = alpha x b over visible pairs, x (rows, keys) 0 at the others, b (keys, n).
  void multiply(T alpha, const T* x, int64_t n, const T* b, int64_t b_row, T* c,
                int64_t c_row) const {
    const auto product = [&](const T* factor, int64_t row) {
      gemm<T>({Transpose::no, Transpose::no, rows, n, keys, alpha, x, keys, factor, row, T(0), c,
               c_row});
    };
    product(b, b_row);
    if (!some_hidden() || finite(n, c, 1)) return;
    product(cleared(keys, n, b, b_row), n);
    add_infinite_terms(
        rows, n, keys, [&](int64_t i, int64_t j) { return alpha * x[i * keys + j]; }, b, b_row,
        [&](int64_t i, int64_t j) { return visible(i, j); }, c, c_row);
  }
  /// c (keys, n) += alpha x^T b likewise, b (rows, n), of which `all_finite` tells.
  void multiply_transposed(T alpha, const T* x, int64_t n, const T* b, int64_t b_row,
                           bool all_finite, T* c, int64_t c_row) const {
    const auto product = [&](const T* factor, int64_t row) {
      gemm<T>({Transpose::yes, Transpose::no, keys, n, rows, alpha, x, keys, factor, row, T(1), c,
               c_row});
    };
    if (all_finite) return product(b, b_row);
    product(cleared(rows, n, b, b_row), n);
    add_infinite_terms(
        keys, n, rows, [&](int64_t j, int64_t i) { return alpha * x[i * keys + j]; }, b, b_row,
        [&](int64_t j, int64_t i) { return visible(i, j); }, c, c_row);
  }

  const AttentionProblem<T>& a;
  int64_t first, rows, keys;
  const T *q, *k, *v, *bias;

 private:
  void multiply_scores(T* p) const {
    gemm<T>({Transpose::no, Transpose::yes, rows, keys, a.depth, a.scale, q, a.q.row, k, a.k.row,
             T(0), p, keys});
  }
  void softmax(T* p) const {
    kernels<SoftmaxKernels<T>>().softmax(rows, keys, nullptr, p, p, false);
  }
  bool add_up_scores(T* p) const {
    multiply_scores(p);
    const bool q_finite = !some_hidden() || keys == 0 || finite(rows, p, keys);
    for (int64_t i = 0; i < rows; ++i) {
      T* row = p + i * keys;
      const int64_t seen = end(i);
      for (int64_t j = 0; j < seen && bias; ++j) row[j] += bias_at(i, j);
      std::fill(row + seen, row + keys, kBarrier<T>);
    }
    return q_finite;
  }
  void careful_weights(T* p) const {
    multiply_scores(p);
    for (int64_t i = 0; i < rows && bias; ++i)
      for (int64_t j = 0; j < keys; ++j) p[i * keys + j] += bias_at(i, j);
    fill_hidden(p, kBarrier<T>);
    softmax(p);
    fill_hidden(p, T(0));
  }
  /// A copy of x (m, n), 0 for what is not finite.
  const T* cleared(int64_t m, int64_t n, const T* x, int64_t row) const {
    T* const copy = workspace<T, struct Cleared>(m * n);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j)
        copy[i * n + j] = std::isfinite(x[i * row + j]) ? x[i * row + j] : T(0);
    return copy;
  }
};

template <class T>
T* scores_workspace(int64_t count) {
  return workspace<T, struct Scores>(count);
}

}  // namespace

template <class T>
void attention(const AttentionProblem<T>& a, const Matrices<T>& y) {
  for_each_attention(a, [&](int64_t outer, int64_t inner) {
    T* const p = scores_workspace<T>(kQueries * a.keys);
    for (int64_t i = 0; i < a.queries; i += kQueries) {
      const Block<T> block(a, outer, inner, i);
      block.weights(p);
      block.multiply(T(1), p, a.value_depth, block.v, a.v.row, y.at(outer, inner) + i * y.row,
                     y.row);
    }
  });
}

// p and ds are (rows, keys):  dv += p^T dy,  dq = scale ds k,  dk += scale ds^T q
template <class T>
void attention_backward(const AttentionProblem<T>& a, const Matrices<const T>& dy,
                        const Matrices<T>& dq, const Matrices<T>& dk, const Matrices<T>& dv) {
  for_each_attention(a, [&](int64_t outer, int64_t inner) {
    T* const p = scores_workspace<T>(3 * kQueries * a.keys);
    T *const dp = p + kQueries * a.keys, *const ds = dp + kQueries * a.keys;
    LongSum<T, struct Dk> dk_sum;
    LongSum<T, struct Dv> dv_sum;
    if (dq.data) dk_sum.begin(dk.at(outer, inner), a.keys, a.depth, dk.row);
    if (dv.data) dv_sum.begin(dv.at(outer, inner), a.keys, a.value_depth, dv.row);
    for (int64_t i = 0; i < a.queries; i += kQueries) {
      const Block<T> block(a, outer, inner, i);
      const T* const g = dy.at(outer, inner) + i * dy.row;
      dk_sum.next();
      dv_sum.next();
      const bool q_finite = block.weights(p);
      const bool g_finite = dq.data ? block.score_gradients(p, g, dy.row, dp, ds)
                                    : block.rows_are_finite(a.value_depth, g, dy.row);
      if (dv.data)
        block.multiply_transposed(T(1), p, a.value_depth, g, dy.row, g_finite, dv.at(outer, inner),
                                  dv.row);
      if (!dq.data) continue;
      block.multiply(a.scale, ds, a.depth, block.k, a.k.row, dq.at(outer, inner) + i * dq.row,
                     dq.row);
      block.multiply_transposed(a.scale, ds, a.depth, block.q, a.q.row, q_finite,
                                dk.at(outer, inner), dk.row);
    }
    dk_sum.finish();
    dv_sum.finish();
  });
}

GRADUS_INSTANTIATE(attention<T>, attention_backward<T>)

}  // namespace gradus::kernels

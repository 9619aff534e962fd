#include <gradus/kernels/attention/attention.h>
#include <gradus/kernels/attention/visible.h>
#include <gradus/kernels/gemm/gemm.h>
#include <gradus/kernels/runtime/isa.h>
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

/// A factor of which some products are not to be made: what it holds, with 0 for what is not finite
/// in a copy if there is such and anything may be hidden.
template <class T, class Use>
class Factor {
 public:
  Factor(bool some_hidden, int64_t rows, int64_t columns, const T* x, int64_t stride)
      : values(x), row(stride), x_(x), stride_(stride), columns_(columns) {
    if (!some_hidden || all_finite(rows, columns, x, stride)) return;
    static constinit thread_local Workspace<T, Use> workspace;
    T* to = workspace.of_size(rows * columns);
    values = to;
    row = columns;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        *to++ = std::isfinite(x[i * stride + j]) ? x[i * stride + j] : T(0);
  }

  /// c (m, columns) = alpha op(a) (this) + beta c, of `k` of its rows, over the pairs that are
  /// visible(place in m, place in k).
  template <class Visible>
  void multiply(Transpose ta, int64_t m, int64_t k, T alpha, const T* a, int64_t lda, T beta, T* c,
                int64_t ldc, Visible visible) const {
    gemm<T>({ta, Transpose::no, m, columns_, k, alpha, a, lda, values, row, beta, c, ldc});
    if (values == x_) return;
    const auto element = [&](int64_t i, int64_t p) {
      return alpha * (ta == Transpose::yes ? a[p * lda + i] : a[i * lda + p]);
    };
    add_infinite_terms(m, columns_, k, element, x_, stride_, visible, c, ldc);
  }

  const T* values;
  int64_t row;

 private:
  const T* x_;
  int64_t stride_, columns_;
};

/// One attention's queries from `first` on, and the keys that they may look at: where the bias is
/// -inf, or a causal mask says so, they may not, and what stands there has no influence.
template <class T>
struct Block {
  Block(const AttentionProblem<T>& problem, int64_t outer, int64_t inner, int64_t first_query)
      : a(problem),
        first(first_query),
        rows(std::min(kQueries, a.queries - first)),
        keys(a.causal ? std::min(first + rows, a.keys) : a.keys),
        q(a.q.at(outer, inner) + first * a.q.row),
        k(a.k.at(outer, inner)),
        bias(a.bias.data) {
    if (bias) bias += outer * a.bias.outer + inner * a.bias.inner + first * a.bias.query;
  }

  /// The keys before which the causal mask lets query i look.
  int64_t end(int64_t i) const { return a.causal ? std::min(first + i + 1, keys) : keys; }
  bool visible(int64_t i, int64_t j) const {
    return j < end(i) && !(bias && bias[i * a.bias.query + j * a.bias.key] == kBarrier<T>);
  }
  /// row_j = hidden(j) ? value : f(row_j, bias_j) of query i.
  template <class F>
  void select(int64_t i, T* row, T value, F f) const {
    const int64_t seen = end(i);
    const T* b = bias ? bias + i * a.bias.query : nullptr;
    if (b && a.bias.key == 1)
      for (int64_t j = 0; j < seen; ++j) row[j] = b[j] == kBarrier<T> ? value : f(row[j], b[j]);
    else if (b)
      for (int64_t j = 0; j < seen; ++j) {
        const T added = b[j * a.bias.key];
        row[j] = added == kBarrier<T> ? value : f(row[j], added);
      }
    std::fill(row + seen, row + keys, value);
  }
  /// x (rows, keys) with 0 where a query may not look.
  void clear_hidden(T* x) const {
    if (!a.causal && !bias) return;
    for (int64_t i = 0; i < rows; ++i) clear_hidden(i, x + i * keys);
  }
  /// The same where rows are 0 there already, but for those that NaN or infinity have gone through.
  void clear_nan_rows(T* x) const {
    for (int64_t i = 0; i < rows && keys > 0; ++i)
      if (!std::isfinite(x[i * keys])) clear_hidden(i, x + i * keys);
  }
  void clear_hidden(int64_t i, T* row) const {
    select(i, row, T(0), [](T v, T) { return v; });
  }

  /// p (rows, keys) = softmax(scale q k^T + bias), 0 where a query may not look.
  void weights(T* p) const {
    gemm<T>({Transpose::no, Transpose::yes, rows, keys, a.depth, a.scale, q, a.q.row, k, a.k.row,
             T(0), p, keys});
    for (int64_t i = 0; i < rows; ++i)
      select(i, p + i * keys, kBarrier<T>, [](T score, T added) { return score + added; });
    kernels<SoftmaxKernels<T>>().softmax(rows, keys, nullptr, p, p, false);
    clear_nan_rows(p);  // as is one of nothing to look at
  }

  const AttentionProblem<T>& a;
  int64_t first, rows, keys;
  const T *q, *k, *bias;
};

template <class T>
void clear(T* rows, int64_t row, int64_t count, int64_t size) {
  for (int64_t i = 0; i < count; ++i) std::fill_n(rows + i * row, size, T(0));
}

template <class T>
T* scores_workspace(int64_t count) {
  static constinit thread_local Workspace<T, struct Scores> workspace;
  return workspace.of_size(count);
}

template <class T>
bool some_hidden(const AttentionProblem<T>& a) {
  return a.causal || a.bias.data;
}

template <class T>
Factor<T, struct Keys> keys_of(const AttentionProblem<T>& a, int64_t outer, int64_t inner) {
  return {some_hidden(a), a.keys, a.depth, a.k.at(outer, inner), a.k.row};
}
template <class T>
Factor<T, struct Values> values_of(const AttentionProblem<T>& a, int64_t outer, int64_t inner) {
  return {some_hidden(a), a.keys, a.value_depth, a.v.at(outer, inner), a.v.row};
}

}  // namespace

template <class T>
void attention(const AttentionProblem<T>& a, const Matrices<T>& y) {
  for_each_attention(a, [&](int64_t outer, int64_t inner) {
    T* const p = scores_workspace<T>(kQueries * a.keys);
    const auto v = values_of(a, outer, inner);
    for (int64_t i = 0; i < a.queries; i += kQueries) {
      const Block<T> block(a, outer, inner, i);
      block.weights(p);
      v.multiply(Transpose::no, block.rows, block.keys, T(1), p, block.keys, T(0),
                 y.at(outer, inner) + i * y.row, y.row,
                 [&](int64_t query, int64_t key) { return block.visible(query, key); });
    }
  });
}

// p and ds, where ds = p (dp - sum over keys of dp p), dp = dy v^T, are (rows, keys):
//   dv += p^T dy,  dq = scale ds k,  dk += scale ds^T q
template <class T>
void attention_backward(const AttentionProblem<T>& a, const Matrices<const T>& dy,
                        const Matrices<T>& dq, const Matrices<T>& dk, const Matrices<T>& dv) {
  for_each_attention(a, [&](int64_t outer, int64_t inner) {
    T* const p = scores_workspace<T>(2 * kQueries * a.keys);
    T* const ds = p + kQueries * a.keys;
    const auto k = keys_of(a, outer, inner);
    if (dq.data) clear(dk.at(outer, inner), dk.row, a.keys, a.depth);
    if (dv.data) clear(dv.at(outer, inner), dv.row, a.keys, a.value_depth);
    for (int64_t i = 0; i < a.queries; i += kQueries) {
      const Block<T> block(a, outer, inner, i);
      const int64_t rows = block.rows, keys = block.keys;
      const auto visible = [&](int64_t query, int64_t key) { return block.visible(query, key); };
      const auto seen_by = [&](int64_t key, int64_t query) { return block.visible(query, key); };
      const T* const g = dy.at(outer, inner) + i * dy.row;
      block.weights(p);
      if (dv.data)
        Factor<T, struct Gradients>(some_hidden(a), rows, a.value_depth, g, dy.row)
            .multiply(Transpose::yes, keys, rows, T(1), p, keys, T(1), dv.at(outer, inner), dv.row,
                      seen_by);
      if (!dq.data) continue;
      gemm<T>({Transpose::no, Transpose::yes, rows, keys, a.value_depth, T(1), g, dy.row,
               a.v.at(outer, inner), a.v.row, T(0), ds, keys});
      block.clear_hidden(ds);
      kernels<SoftmaxKernels<T>>().softmax_backward(rows, keys, p, ds, ds, false);
      block.clear_nan_rows(ds);
      k.multiply(Transpose::no, rows, keys, a.scale, ds, keys, T(0),
                 dq.at(outer, inner) + i * dq.row, dq.row, visible);
      Factor<T, struct Queries>(some_hidden(a), rows, a.depth, block.q, a.q.row)
          .multiply(Transpose::yes, keys, rows, a.scale, ds, keys, T(1), dk.at(outer, inner),
                    dk.row, seen_by);
    }
  });
}

GRADUS_INSTANTIATE(attention<T>, attention_backward<T>)

}  // namespace gradus::kernels

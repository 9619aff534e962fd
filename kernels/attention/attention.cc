#include <gradus/kernels/attention/attention.h>
#include <gradus/kernels/gemm/gemm.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>
#include <gradus/kernels/softmax/table.h>

#include <algorithm>
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

/// One attention's queries from `first` on, and the keys that they may look at.
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

  /// p (rows, keys) = softmax(scale q k^T + bias)
  void weights(T* p) const {
    constexpr T barrier = -std::numeric_limits<T>::infinity();
    gemm<T>({Transpose::no, Transpose::yes, rows, keys, a.depth, a.scale, q, a.q.row, k, a.k.row,
             T(0), p, keys});
    for (int64_t i = 0; i < rows; ++i) {
      T* row = p + i * keys;
      const int64_t visible = a.causal ? std::min(first + i + 1, keys) : keys;
      for (int64_t j = 0; j < visible && bias; ++j)
        row[j] += bias[i * a.bias.query + j * a.bias.key];
      std::fill(row + visible, row + keys, barrier);
    }
    kernels<SoftmaxKernels<T>>().softmax(rows, keys, nullptr, p, p, false);
  }

  const AttentionProblem<T>& a;
  int64_t first, rows, keys;
  const T *q, *k, *v, *bias;
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

}  // namespace

template <class T>
void attention(const AttentionProblem<T>& a, const Matrices<T>& y) {
  for_each_attention(a, [&](int64_t outer, int64_t inner) {
    T* const p = scores_workspace<T>(kQueries * a.keys);
    for (int64_t i = 0; i < a.queries; i += kQueries) {
      const Block<T> block(a, outer, inner, i);
      block.weights(p);
      gemm<T>({Transpose::no, Transpose::no, block.rows, a.value_depth, block.keys, T(1), p,
               block.keys, block.v, a.v.row, T(0), y.at(outer, inner) + i * y.row, y.row});
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
    if (dq.data) clear(dk.at(outer, inner), dk.row, a.keys, a.depth);
    if (dv.data) clear(dv.at(outer, inner), dv.row, a.keys, a.value_depth);
    for (int64_t i = 0; i < a.queries; i += kQueries) {
      const Block<T> block(a, outer, inner, i);
      const int64_t rows = block.rows, keys = block.keys;
      const T* const g = dy.at(outer, inner) + i * dy.row;
      block.weights(p);
      if (dv.data)
        gemm<T>({Transpose::yes, Transpose::no, keys, a.value_depth, rows, T(1), p, keys, g, dy.row,
                 T(1), dv.at(outer, inner), dv.row});
      if (!dq.data) continue;
      gemm<T>({Transpose::no, Transpose::yes, rows, keys, a.value_depth, T(1), g, dy.row, block.v,
               a.v.row, T(0), ds, keys});
      kernels<SoftmaxKernels<T>>().softmax_backward(rows, keys, p, ds, ds, false);
      gemm<T>({Transpose::no, Transpose::no, rows, a.depth, keys, a.scale, ds, keys, block.k,
               a.k.row, T(0), dq.at(outer, inner) + i * dq.row, dq.row});
      gemm<T>({Transpose::yes, Transpose::no, keys, a.depth, rows, a.scale, ds, keys, block.q,
               a.q.row, T(1), dk.at(outer, inner), dk.row});
    }
  });
}

GRADUS_INSTANTIATE(attention<T>, attention_backward<T>)

}  // namespace gradus::kernels

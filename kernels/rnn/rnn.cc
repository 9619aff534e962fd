#include <gradus/kernels/gemm/gemm.h>
#include <gradus/kernels/reduce/reduce.h>
#include <gradus/kernels/rnn/rnn.h>
#include <gradus/kernels/rnn/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <span>

namespace gradus::kernels {
namespace {

/// The rows of W_hh that make some of the kept gates, in units of H: one product each.
struct Gates {
  int64_t row, column, count;
};
std::span<const Gates> recurrent_gates(CellKind kind) {
  static constexpr Gates one[] = {{0, 0, 1}}, lstm[] = {{0, 0, 4}}, gru[] = {{0, 0, 2}, {2, 3, 1}};
  if (kind == CellKind::lstm) return lstm;
  if (kind == CellKind::gru) return gru;
  return one;
}

/// Sequences that a thread takes at a time, through all steps: enough to read the weights for.
template <class T>
int64_t grain(const Recurrence<T>& r) {
  constexpr int64_t rows = 16;
  const int64_t each = r.steps * (r.inputs + r.hidden) * gates_of(r.kind) * r.hidden;
  return std::max(rows, per_grain(each, kProductGrain));
}

/// The weights as products read them, copied once for all steps: W_ih^T (forward alone), and of
/// W_hh the transposed rows of each product (forward) or the rows as they are. One step of one
/// sequence forward reads them where they lie.
template <class T>
class PackedWeights {
 public:
  PackedWeights(const Recurrence<T>& r, Transpose transpose) {
    const bool forward = transpose == Transpose::yes;
    const int64_t hidden = r.hidden, rows = gates_of(r.kind) * hidden;
    const int64_t inputs = forward && r.w_ih ? r.inputs : 0;
    const auto products = recurrent_gates(r.kind);
    copied = !forward || r.steps * r.batch > 1;
    if (!copied) {
      input = r.w_ih;
      for (size_t i = 0; i < products.size(); ++i)
        recurrent[i] = r.w_hh + products[i].row * hidden * hidden;
      return;
    }
    int64_t sizes[2] = {}, size = packed_size<T>(rows, inputs);
    for (size_t i = 0; i < products.size(); ++i) {
      const int64_t count = products[i].count * hidden;
      size += sizes[i] = forward ? packed_size<T>(count, hidden) : packed_size<T>(hidden, count);
    }
    T* to = workspace<T, struct Packed>(size);
    if (inputs > 0) pack(transpose, rows, inputs, r.w_ih, inputs, to);
    input = to;
    to += packed_size<T>(rows, inputs);
    for (size_t i = 0; i < products.size(); to += sizes[i++]) {
      const int64_t count = products[i].count * hidden;
      pack(transpose, forward ? count : hidden, forward ? hidden : count,
           r.w_hh + products[i].row * hidden * hidden, hidden, to);
      recurrent[i] = to;
    }
  }
  /// rows (count, n) = x (count, k) W^T + beta rows, W being one of those below.
  void multiply(int64_t count, int64_t n, int64_t k, const T* x, int64_t x_row, const T* w, T beta,
                T* rows, int64_t row) const {
    if (copied) return gemm_packed(count, n, k, x, x_row, w, beta, rows, row);
    gemm_uncut<T>(
        {Transpose::no, Transpose::yes, count, n, k, T(1), x, x_row, w, k, beta, rows, row});
  }
  bool copied;
  const T* input;
  const T* recurrent[2];
};

/// What the products' sums lack, for each kept gate.
template <class T>
const T* kept_bias(const Recurrence<T>& r) {
  const int64_t rows = gates_of(r.kind) * r.hidden, kept = kept_gates_of(r.kind) * r.hidden;
  T* bias = workspace<T, struct Bias>(kept);
  for (int64_t i = 0; i < kept; ++i) bias[i] = r.b_ih && i < rows ? r.b_ih[i] : T(0);
  if (!r.b_hh) return bias;
  for (const Gates& gates : recurrent_gates(r.kind))
    for (int64_t i = 0; i < gates.count * r.hidden; ++i)
      bias[gates.column * r.hidden + i] += r.b_hh[gates.row * r.hidden + i];
  return bias;
}

/// Sequences begin .. end - 1 at step t: where their rows lie.
template <class T, class S>
struct Rows {
  Rows(const Recurrence<T>& r, const RecurrentStates<S>& s, int64_t t, int64_t begin, int64_t end)
      : count(end - begin) {
    const int64_t first = (t * r.batch + begin) * r.hidden, next = first + r.batch * r.hidden;
    h = s.h + first;
    next_h = s.h + next;
    c = s.c ? s.c + first : nullptr;
    next_c = s.c ? s.c + next : nullptr;
    kept = kept_gates_of(r.kind) * r.hidden;
    gates = s.gates ? s.gates + t * s.gates_step + begin * kept : next_h;
  }
  int64_t count, kept;
  S *h, *next_h, *c, *next_c, *gates;
};

/// Fills the gates with the sums of products; `from_zero`: h is 0.
template <class T>
void multiply(const Recurrence<T>& r, const PackedWeights<T>& weights, const Rows<T, T>& at,
              const T* x, bool from_zero) {
  const int64_t rows = gates_of(r.kind) * r.hidden;
  if (r.w_ih)
    weights.multiply(at.count, rows, r.inputs, x, r.x_row, weights.input, T(0), at.gates, at.kept);
  else
    for (int64_t k = 0; k < at.count; ++k)
      std::copy_n(x + k * r.x_row, rows, at.gates + k * at.kept);
  const auto products = recurrent_gates(r.kind);
  for (size_t i = 0; i < products.size(); ++i) {
    const bool added = products[i].column * r.hidden < rows;
    if (from_zero && added) continue;
    weights.multiply(at.count, products[i].count * r.hidden, from_zero ? 0 : r.hidden, at.h,
                     r.hidden, weights.recurrent[i], T(added),
                     at.gates + products[i].column * r.hidden, at.kept);
  }
}

template <class T>
bool is_valid(const Recurrence<T>& r, int64_t n, int64_t t) {
  return !r.valid || r.valid[n * r.steps + t];
}

/// A sequence that has ended keeps its state.
template <class T>
void keep_states(const Recurrence<T>& r, const Rows<T, T>& at, int64_t begin, int64_t t) {
  for (int64_t k = 0; k < at.count; ++k) {
    if (is_valid(r, begin + k, t)) continue;
    std::copy_n(at.h + k * r.hidden, r.hidden, at.next_h + k * r.hidden);
    if (at.c) std::copy_n(at.c + k * r.hidden, r.hidden, at.next_c + k * r.hidden);
  }
}

template <class T>
void write_outputs(const Recurrence<T>& r, const Rows<T, T>& at, int64_t begin, int64_t t, T* y) {
  y += (t * r.batch + begin) * r.hidden;
  for (int64_t k = 0; k < at.count; ++k, y += r.hidden) {
    if (is_valid(r, begin + k, t))
      std::copy_n(at.next_h + k * r.hidden, r.hidden, y);
    else
      std::fill_n(y, r.hidden, T(0));
  }
}

}  // namespace

template <class T>
void recurrence(const Recurrence<T>& r, const RecurrentStates<T>& states, T* y) {
  const PackedWeights<T> weights(r, Transpose::yes);
  const T* bias = kept_bias(r);
  const auto step = kernels<RnnKernels<T>>().step[static_cast<int>(r.kind)];
  parallel_for(r.batch, grain(r), [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < r.steps; ++t) {
      const Rows<T, T> at(r, states, t, begin, end);
      multiply(r, weights, at, r.x + t * r.x_step + begin * r.x_row, r.from_zero && t == 0);
      step(at.count, r.hidden, bias, at.h, at.c, at.gates, at.next_h, at.next_c);
      if (r.valid) keep_states(r, at, begin, t);
      if (y) write_outputs(r, at, begin, t, y);
    }
  });
}

template <class T>
void recurrence_backward(const Recurrence<T>& r, const RecurrentStates<const T>& states,
                         const StepGradients<T>& dy, bool to_first, T* dh, T* dc, T* dgates) {
  const PackedWeights<T> weights(r, Transpose::no);
  const auto step = kernels<RnnKernels<T>>().step_backward[static_cast<int>(r.kind)];
  const auto products = recurrent_gates(r.kind);
  const int64_t hidden = r.hidden;
  parallel_for(r.batch, grain(r), [&](int64_t begin, int64_t end) {
    for (int64_t t = r.steps - 1; t >= 0; --t) {
      for (int64_t n = begin, next; n < end; n = next) {  // sequences side by side that go on
        const bool valid = is_valid(r, n, t);
        for (next = n + 1; next < end && is_valid(r, next, t) == valid;) ++next;
        const Rows<T, const T> at(r, states, t, n, next);
        T* da = dgates + (t * r.batch + n) * at.kept;
        if (!valid) {
          std::fill_n(da, at.count * at.kept, T(0));
          continue;
        }
        for (int64_t k = 0; k < at.count && dy.dy; ++k) {
          const T* from = dy.dy + t * dy.step + (n + k) * dy.row;
          T* to = dh + (n + k) * hidden;
          for (int64_t j = 0; j < hidden; ++j) to[j] += from[j];
        }
        step(at.count, hidden, at.h, at.c, at.gates, at.next_h, at.next_c, dh + n * hidden,
             dc ? dc + n * hidden : nullptr, da);
      }
      if (t == 0 && !to_first) return;
      const int64_t kept = kept_gates_of(r.kind) * hidden;
      for (size_t i = 0; i < products.size(); ++i)
        gemm_packed(end - begin, hidden, products[i].count * hidden,
                    dgates + (t * r.batch + begin) * kept + products[i].column * hidden, kept,
                    weights.recurrent[i], T(1), dh + begin * hidden, hidden);
    }
  });
}

namespace {

/// Rows of `width` in the order of dgates' rows, 0 where not valid, since a NaN there would meet
/// dgates' zeros in a product; and how far apart they are.
template <class T, class Tag>
struct StepMajor {
  StepMajor(const Recurrence<T>& r, const T* from, int64_t x_step, int64_t x_row, int64_t width)
      : x(from), row(x_row) {
    if (!r.valid && (r.steps == 1 || x_step == r.batch * x_row)) return;
    T* to = workspace<T, Tag>(r.steps * r.batch * width);
    x = to;
    row = width;
    for (int64_t t = 0; t < r.steps; ++t)
      for (int64_t n = 0; n < r.batch; ++n, to += width) {
        if (is_valid(r, n, t))
          std::copy_n(from + t * x_step + n * x_row, width, to);
        else
          std::fill_n(to, width, T(0));
      }
  }
  const T* x;
  int64_t row;
};

template <class T>
void put(const GradientSum<T>& to, int64_t at, int64_t n, const T* from) {
  for (int64_t i = 0; i < n; ++i) to.sum[at + i] = to.add ? to.sum[at + i] + from[i] : from[i];
}

}  // namespace

template <class T>
void recurrence_weight_gradients(const Recurrence<T>& r, const T* h, const T* dgates,
                                 const WeightGradients<T>& d) {
  const int64_t hidden = r.hidden, positions = r.steps * r.batch;
  const int64_t rows = gates_of(r.kind) * hidden, kept = kept_gates_of(r.kind) * hidden;
  const auto product = [&](int64_t m, int64_t column, int64_t n, const T* z, int64_t ldz, bool add,
                           T* dw, int64_t first) {
    gemm<T>({Transpose::yes, Transpose::no, m, n, positions - first, T(1),
             dgates + first * kept + column, kept, z + first * ldz, ldz, T(add), dw, n});
  };
  if (d.w_ih.sum) {
    const StepMajor<T, struct Inputs> x(r, r.x, r.x_step, r.x_row, r.inputs);
    product(rows, 0, r.inputs, x.x, x.row, d.w_ih.add, d.w_ih.sum, 0);
  }
  if (d.w_hh.sum) {
    const StepMajor<T, struct States> before(r, h, r.batch * hidden, hidden, hidden);
    for (const Gates& gates : recurrent_gates(r.kind))
      product(gates.count * hidden, gates.column * hidden, hidden, before.x, before.row, d.w_hh.add,
              d.w_hh.sum + gates.row * hidden * hidden, r.from_zero ? r.batch : 0);
  }
  if (!d.b_ih.sum && !d.b_hh.sum) return;
  T* sums = workspace<T, struct BiasSums>(kept);
  sum<T>(1, positions, kept, dgates, sums);
  if (d.b_ih.sum) put(d.b_ih, 0, rows, sums);
  if (d.b_hh.sum)
    for (const Gates& gates : recurrent_gates(r.kind))
      put(d.b_hh, gates.row * hidden, gates.count * hidden, sums + gates.column * hidden);
}

template <class T>
void recurrence_input_gradient(const Recurrence<T>& r, const T* dgates, T* dx) {
  const int64_t rows = gates_of(r.kind) * r.hidden, kept = kept_gates_of(r.kind) * r.hidden;
  gemm<T>({Transpose::no, Transpose::no, r.steps * r.batch, r.inputs, rows, T(1), dgates, kept,
           r.w_ih, r.inputs, T(0), dx, r.inputs});
}

GRADUS_INSTANTIATE(recurrence<T>, recurrence_backward<T>, recurrence_weight_gradients<T>,
                   recurrence_input_gradient<T>)

}  // namespace gradus::kernels

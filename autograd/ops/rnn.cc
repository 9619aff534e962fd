#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/detail/optional.h>
#include <gradus/autograd/ops/detail/run_steps.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/rnn.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/rnn/rnn.h>

namespace gradus {

namespace {

/// Throws unless a and u are (N, G H) and the state is (N, H), each of it.
void check_cell_step(CellKind kind, const Tensor& a, const Tensor& u, const CellState& state) {
  const int64_t gates = gates_of(kind);
  check(a.ndim() == 2 && a.shape() == u.shape() && a.shape()[1] % gates == 0,
        "cell_step: a is {}, u is {}; both must be (N, {} H)", a.shape(), u.shape(), gates);
  const Shape expected{a.shape()[0], a.shape()[1] / gates};
  for (const Tensor* given : {&state.h, &state.c})
    if (*given && given->shape() != expected) [[unlikely]]
      fail("cell_step: the state is {}, must be {} for a {}", given->shape(), expected, a.shape());
  check(!state.c || kind == CellKind::lstm, "cell_step: a c, which only an LSTM has");
}

}  // namespace

CellState cell_step(CellKind kind, const Tensor& a, const Tensor& u, const CellState& state,
                    const std::function<Tensor(const Tensor& c)>& norm_c) {
  check_cell_step(kind, a, u, state);
  const int64_t hidden = u.shape()[1] / gates_of(kind);
  const auto gate = [&](const Tensor& v, int64_t k) {
    return slice(v, 1, k * hidden, (k + 1) * hidden);
  };
  if (kind == CellKind::tanh) return {tanh(a + u), {}};
  if (kind == CellKind::relu) return {relu(a + u), {}};
  if (kind == CellKind::gru) {
    const Tensor r = sigmoid(gate(a, 0) + gate(u, 0)), z = sigmoid(gate(a, 1) + gate(u, 1)),
                 n = tanh(gate(a, 2) + r * gate(u, 2));
    return {n + z * (state.h ? state.h - n : -n), {}};
  }
  const Tensor sum = a + u, i = sigmoid(gate(sum, 0)), f = sigmoid(gate(sum, 1)),
               g = tanh(gate(sum, 2)), o = sigmoid(gate(sum, 3)),
               c = state.c ? f * state.c + i * g : i * g;
  return {o * tanh(norm_c ? norm_c(c) : c), c};
}

namespace detail {

RecurrenceResult run_steps(CellKind kind, int64_t hidden, const Tensor& x, CellState state,
                           const Tensor& valid, const NextState& next) {
  const Tensor zero = zeros({}, x.dtype());
  for (Tensor* first : {&state.h, &state.c})
    if (!*first && (first == &state.h || kind == CellKind::lstm))
      *first = zeros({x.size(0), hidden}, x.dtype());
  const TensorList steps = x.ndim() == 3 ? unbind(x, 1) : TensorList{x};
  const TensorList valid_steps = valid ? unbind(valid, 1) : TensorList(steps.size());
  TensorList outputs;
  for (size_t t = 0; t < steps.size(); ++t) {
    const Tensor there = valid ? unsqueeze(valid_steps[t], -1) : Tensor();
    const auto if_there = [&](const Tensor& a, const Tensor& b) {
      return valid && a ? where(there, a, b) : a;
    };
    const CellState before{if_there(state.h, zero), if_there(state.c, zero)},
        after = next(t, steps[t], before, valid_steps[t]);
    outputs.push_back(if_there(after.h, zero));
    state = {if_there(after.h, state.h), if_there(after.c, state.c)};
  }
  if (x.ndim() == 2) return {{}, state};
  if (outputs.empty()) return {zeros({x.size(0), 0, hidden}, x.dtype()), state};
  return {stack(outputs, 1), state};
}

}  // namespace detail

namespace {

using kernels::kept_gates_of;

// The inputs' places; what is kept begins with the inputs.
enum Place { kX, kWih, kWhh, kBih, kBhh, kH0, kC0, kValid, kStates, kCells, kGates };
constexpr int kInputs = kC0 + 1;

struct RecurrenceAttrs {
  CellKind kind;
};

/// The outputs are h, then c of lstm, then y of a sequence.
int place_of_y(CellKind kind) { return kind == CellKind::lstm ? 2 : 1; }

/// x, or a copy if its rows overlap or have gaps inside.
Tensor with_whole_rows(const Tensor& x) {
  bool whole = x.strides()[x.ndim() - 1] == 1;
  for (int i = 0; i + 1 < x.ndim(); ++i)
    whole = whole && (x.strides()[i] >= x.shape().back() || x.shape()[i] == 1);
  return whole ? x : raw::contiguous(x);
}

/// Block `step` of step-major (steps, N, H), as (N, H).
Tensor block(const Tensor& steps, int64_t step) {
  const int64_t n = steps.shape()[1], h = steps.shape()[2], strides[] = {h, 1};
  return as_strided(steps, {n, h}, strides, step * n * h);
}

/// Blocks `first` and on of step-major (steps, N, H), as (N, T, H).
Tensor sequences(const Tensor& steps, int64_t first) {
  const int64_t n = steps.shape()[1], h = steps.shape()[2], strides[] = {h, n * h, 1};
  return as_strided(steps, {n, steps.shape()[0] - first, h}, strides, first * n * h);
}

template <class T>
kernels::Recurrence<T> problem(CellKind kind, const Tensor& x, const CellWeights& w,
                               const Tensor& h, const Tensor& valid) {
  const bool sequence = x.ndim() == 3;
  return {.kind = kind,
          .steps = sequence ? x.shape()[1] : 1,
          .batch = x.shape()[0],
          .inputs = x.shape().back(),
          .hidden = w.w_hh.shape()[1],
          .x = x.strided_data<T>(),
          .x_step = sequence ? x.strides()[1] : 0,
          .x_row = x.shape()[0] > 1 ? x.strides()[0] : x.shape().back(),
          .w_ih = pointer<T>(w.w_ih),
          .w_hh = w.w_hh.data<T>(),
          .b_ih = pointer<T>(w.b_ih),
          .b_hh = pointer<T>(w.b_hh),
          .valid = pointer<bool>(valid),
          .from_zero = !h};
}

RecurrenceResult plain_recurrence(CellKind kind, const Tensor& x, const CellState& state,
                                  const CellWeights& w, const Tensor& valid) {
  const Tensor seen = valid ? where(unsqueeze(valid, -1), x, 0) : x;
  return detail::run_steps(
      kind, w.w_hh.size(1), seen, state, valid,
      [&](size_t, const Tensor& x_t, const CellState& before, const Tensor&) {
        const Tensor a = w.w_ih ? linear(x_t, w.w_ih, w.b_ih) : w.b_ih ? x_t + w.b_ih : x_t;
        return cell_step(kind, a, linear(before.h, w.w_hh, w.b_hh), before);
      });
}

/// For a sweep that records itself: the recurrence is recorded again, in plain operations, and
/// swept, so that every order of derivatives follows.
void plain_backward(Backward& ctx) {
  const CellKind kind = ctx.attrs<RecurrenceAttrs>().kind;
  Tensor x[kInputs];
  TensorList wanted;  // nodes of their own, so that no path leads around the recurrence
  for (int i = 0; i < kInputs; ++i) {
    x[i] = ctx.kept(i);
    if (!ctx.needs(i)) continue;
    x[i] = reshape(x[i], x[i].shape());
    wanted.push_back(x[i]);
  }
  const RecurrenceResult result = plain_recurrence(
      kind, x[kX], {x[kH0], x[kC0]}, {x[kWih], x[kWhh], x[kBih], x[kBhh]}, ctx.kept(kValid));
  Tensor total = zeros({}, x[kX].dtype());
  const auto add_product = [&](const Tensor& y, int output) {
    if (y && ctx.has_dy(output)) total = total + sum(y * ctx.dy(output));
  };
  add_product(result.state.h, 0);
  add_product(result.state.c, 1);
  add_product(result.y, place_of_y(kind));
  std::vector<Tensor> gradients =
      ctx.tape().gradient(total, wanted, {.create_graph = CreateGraph::yes, .allow_unused = true});
  for (int i = 0, k = 0; i < kInputs; ++i) {
    if (!ctx.needs(i)) continue;
    Tensor& gradient = gradients[static_cast<size_t>(k++)];
    ctx.set(i, gradient ? std::move(gradient) : zeros_like(x[i]));  // of no steps there is no path
  }
}

/// The gradient of a parameter: a new one, or the sum so far where it can be added to in place.
class ParameterGradient {
 public:
  ParameterGradient(Backward& ctx, int input) : ctx_(ctx), input_(input) {
    if (!ctx.needs(input)) return;
    tensor_ = ctx.take_sum(input);
    add_ = static_cast<bool>(tensor_);
    if (!add_) tensor_ = empty(ctx.input_shape(input), ctx.kept(kX).dtype());
  }
  template <class T>
  kernels::GradientSum<T> sum() {
    return {pointer<T>(tensor_), add_};
  }
  void set() {
    if (tensor_) ctx_.set(input_, std::move(tensor_));
  }

 private:
  Backward& ctx_;
  int input_;
  Tensor tensor_;
  bool add_ = false;
};

/// What arrives at a last state, to go on from; zeros if nothing does.
Tensor state_gradient(Backward& ctx, int output) {
  return ctx.has_dy(output) ? raw::clone(ctx.dy(output)) : ctx.dy(output);
}

void fused_backward(Backward& ctx) {
  const CellKind kind = ctx.attrs<RecurrenceAttrs>().kind;
  const Tensor x = with_whole_rows(ctx.kept(kX)), w_ih = contiguous_or_none(ctx.kept(kWih)),
               w_hh = raw::contiguous(ctx.kept(kWhh)), valid = ctx.kept(kValid),
               states = ctx.kept(kStates), cells = ctx.kept(kCells), gates = ctx.kept(kGates), none;
  const bool sequence = x.ndim() == 3;
  const int y = place_of_y(kind);
  const Tensor dy = sequence && ctx.has_dy(y) ? with_whole_rows(ctx.dy(y)) : Tensor();
  Tensor dh = state_gradient(ctx, 0), dc = cells ? state_gradient(ctx, 1) : Tensor();
  const int64_t steps = states.shape()[0] - 1, n = states.shape()[1], hidden = states.shape()[2];
  const int64_t kept = kept_gates_of(kind) * hidden;
  Tensor dgates = empty({steps, n, kept}, x.dtype());
  Tensor dx = ctx.needs(kX) && w_ih ? empty({steps, n, x.shape().back()}, x.dtype()) : Tensor();
  ParameterGradient dw_ih(ctx, kWih), dw_hh(ctx, kWhh), db_ih(ctx, kBih), db_hh(ctx, kBhh);
  dispatch_floating(x.dtype(), "recurrence", [&]<class T>() {
    const auto r = problem<T>(kind, x, {w_ih, w_hh, none, none}, ctx.kept(kH0), valid);
    T* const d = dgates.mutable_data<T>();
    kernels::recurrence_backward<T>(
        r, {states.data<T>(), pointer<T>(cells), pointer<T>(gates), n * kept},
        {dy ? dy.strided_data<T>() : nullptr, dy ? dy.strides()[1] : 0, dy ? dy.strides()[0] : 0},
        ctx.needs(kH0), dh.mutable_data<T>(), pointer<T>(dc), d);
    kernels::recurrence_weight_gradients<T>(
        r, states.data<T>(), d, {dw_ih.sum<T>(), dw_hh.sum<T>(), db_ih.sum<T>(), db_hh.sum<T>()});
    if (dx) kernels::recurrence_input_gradient<T>(r, d, dx.mutable_data<T>());
  });
  if (ctx.needs(kX)) {
    const Tensor& all = dx ? dx : dgates;
    const int64_t row = all.shape()[2], strides[] = {row, n * row, 1}, last[] = {row, 1};
    ctx.set(kX, sequence ? as_strided(all, x.shape(), strides, 0)
                         : as_strided(all, x.shape(), last, 0));
  }
  if (ctx.needs(kH0)) ctx.set(kH0, std::move(dh));
  if (ctx.needs(kC0)) ctx.set(kC0, std::move(dc));
  for (ParameterGradient* gradient : {&dw_ih, &dw_hh, &db_ih, &db_hh}) gradient->set();
}

void recurrence_backward(Backward& ctx) {
  detail::recorder ? plain_backward(ctx) : fused_backward(ctx);
}

}  // namespace

// Outputs and gradients: kernels/rnn/rnn.h; derived in docs/derivations/lstm_gru.md
static Op rnn_op("rnn", recurrence_backward);
static Op rnn_relu_op("rnn_relu", recurrence_backward);
static Op lstm_op("lstm", recurrence_backward);
static Op gru_op("gru", recurrence_backward);

namespace {

const Op& op_of(CellKind kind) {
  static const Op* const ops[] = {&rnn_op, &rnn_relu_op, &lstm_op, &gru_op};
  return *ops[static_cast<int>(kind)];
}

void check_recurrence(CellKind kind, const Tensor& x, const CellState& state, const CellWeights& w,
                      const Tensor& valid) {
  const char* op = op_of(kind).name;
  check(x.ndim() == 2 || x.ndim() == 3,
        "{}: x is {}, must be (N, T, D), or (N, D) for a single step", op, x.shape());
  check(w.w_hh.ndim() == 2, "{}: w_hh is {}, must be ({} H, H)", op, w.w_hh.shape(),
        gates_of(kind));
  const int64_t n = x.shape()[0], hidden = w.w_hh.shape()[1], rows = gates_of(kind) * hidden;
  const auto expect = [&](const char* what, const Tensor& given, const Shape& shape) {
    if (!given) return;
    check_same_dtype(op, x, given);
    if (given.shape() != shape) [[unlikely]]
      fail("{}: {} is {}, must be {} for x {} and w_hh {}", op, what, given.shape(), shape,
           x.shape(), w.w_hh.shape());
  };
  expect("w_hh", w.w_hh, {rows, hidden});
  expect("w_ih", w.w_ih, {rows, x.shape().back()});
  if (!w.w_ih)
    expect("x without a w_ih", x, x.ndim() == 3 ? Shape{n, x.shape()[1], rows} : Shape{n, rows});
  expect("b_ih", w.b_ih, {rows});
  expect("b_hh", w.b_hh, {rows});
  expect("the state h", state.h, {n, hidden});
  expect("the state c", state.c, kind == CellKind::lstm ? Shape{n, hidden} : Shape{0});
  if (valid && (x.ndim() != 3 || valid.dtype() != DType::boolean ||
                valid.shape() != Shape{n, x.shape()[1]})) [[unlikely]]
    fail("{}: the mask is {} {}, must be bool (N, T) for an x (N, T, D), which is {}", op,
         name(valid.dtype()), valid.shape(), x.shape());
}

bool any_needs_grad(TensorRefs inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (needs_grad(inputs[i])) return true;
  return false;
}

/// Room for the states, step-major (T + 1, N, H), with the first of them in it.
Tensor states_from(const Tensor& first, int64_t steps, int64_t n, int64_t hidden, DType dtype) {
  Tensor states = empty({steps + 1, n, hidden}, dtype);
  Tensor begin = block(states, 0);
  first ? raw::copy(first, begin) : raw::fill(begin, 0);
  return states;
}

}  // namespace

RecurrenceResult recurrence(CellKind kind, const Tensor& x, const CellState& state,
                            const CellWeights& w, const Tensor& valid) {
  check_recurrence(kind, x, state, w, valid);
  const bool sequence = x.ndim() == 3, lstm = kind == CellKind::lstm;
  const int64_t n = x.shape()[0], steps = sequence ? x.shape()[1] : 1, hidden = w.w_hh.shape()[1],
                kept = kept_gates_of(kind) * hidden;
  const Tensor values = with_whole_rows(x), w_ih = contiguous_or_none(w.w_ih),
               w_hh = raw::contiguous(w.w_hh), b_ih = contiguous_or_none(w.b_ih),
               b_hh = contiguous_or_none(w.b_hh), mask = contiguous_or_none(valid);
  const bool recorded = any_needs_grad({x, w.w_ih, w.w_hh, w.b_ih, w.b_hh, state.h, state.c});
  Tensor states = states_from(state.h, steps, n, hidden, x.dtype()), cells, gates, outputs;
  if (lstm) cells = states_from(state.c, steps, n, hidden, x.dtype());
  if (gates_of(kind) > 1) gates = empty({recorded ? steps : 1, n, kept}, x.dtype());
  if (mask) outputs = empty({steps, n, hidden}, x.dtype());
  dispatch_floating(x.dtype(), op_of(kind).name, [&]<class T>() {
    kernels::recurrence<T>(
        problem<T>(kind, values, {w_ih, w_hh, b_ih, b_hh}, state.h, mask),
        {states.mutable_data<T>(), pointer<T>(cells), pointer<T>(gates), recorded ? n * kept : 0},
        pointer<T>(outputs));
  });
  RecurrenceResult result{{}, {block(states, steps), lstm ? block(cells, steps) : Tensor()}};
  if (sequence) result.y = outputs ? sequences(outputs, 0) : sequences(states, 1);
  if (recorded) {
    Tensor* results[3];
    size_t count = 0;
    for (Tensor* y : {&result.state.h, &result.state.c, &result.y})
      if (*y) results[count++] = y;
    const RecurrenceAttrs attrs{kind};
    record_outputs(
        op_of(kind), {results, count}, {x, w.w_ih, w.w_hh, w.b_ih, w.b_hh, state.h, state.c},
        {x, w.w_ih, w.w_hh, w.b_ih, w.b_hh, state.h, state.c, mask, states, cells, gates}, &attrs,
        sizeof attrs);
  }
  return result;
}

}  // namespace gradus

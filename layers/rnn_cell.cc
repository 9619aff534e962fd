#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/layers/rnn_cell.h>

namespace gradus {

RecurrentCell::RecurrentCell(CellKind kind, int64_t input_size, int64_t hidden_size, bool bias)
    : kind_(kind) {
  constexpr int64_t kMostUnits = int64_t{1} << 40;
  check(input_size > 0 && hidden_size > 0 && hidden_size <= kMostUnits,
        "a recurrent cell with {} inputs, {} hidden units", input_size, hidden_size);
  const int64_t rows = gates_of(kind) * hidden_size;
  const Init init = Init::fan_in_uniform(hidden_size);
  weight_ih = Parameter({rows, input_size}, init);
  weight_hh = Parameter({rows, hidden_size}, init);
  if (!bias) return;
  bias_ih = Parameter({rows}, init);
  bias_hh = Parameter({rows}, init);
}

Tensor RecurrentCell::project(const Tensor& x) const { return linear(x, weight_ih, bias_ih); }

RecurrenceResult RecurrentCell::run(const Tensor& x, bool projected, const CellState& state,
                                    const Tensor& valid) {
  const Tensor none;
  return recurrence(kind_, x, state,
                    {projected ? none : weight_ih, weight_hh, projected ? none : bias_ih, bias_hh},
                    valid);
}

void RecurrentCell::check_inputs(const char* what, const Tensor& x, const CellState& state) const {
  if (x.shape().back() != input_size()) [[unlikely]]
    fail("{}: {} features in x {}, not {}", what, x.shape().back(), x.shape(), input_size());
  const Shape expected{x.shape()[0], hidden_size()};
  for (const Tensor* first : {&state.h, &state.c})
    if (*first && first->shape() != expected) [[unlikely]]
      fail("{}: the first state is {}, must be {} for x {}", what, first->shape(), expected,
           x.shape());
  check(!state.c || kind_ == CellKind::lstm, "{}: a first c, which only an LSTM has", what);
}

CellState RecurrentCell::step(const char* what, const Tensor& x, const CellState& state) {
  const ForwardScope scope(*this);
  check(x.ndim() == 2, "{}: x must be (N, D), is {}", what, x.shape());
  check_inputs(what, x, state);
  return run(x, false, state, {}).state;
}

void RecurrentCell::visit(Visitor& visitor) {
  visitor.parameter("weight_ih", weight_ih);
  visitor.parameter("weight_hh", weight_hh);
  visitor.parameter("bias_ih", bias_ih);
  visitor.parameter("bias_hh", bias_hh);
}

RnnCell::RnnCell(int64_t input_size, int64_t hidden_size, const RnnCellOptions& options)
    : RecurrentCell(options.nonlinearity == Nonlinearity::tanh ? CellKind::tanh : CellKind::relu,
                    input_size, hidden_size, options.bias) {
  if (options.norm) norm = options.norm(hidden_size);
}

RecurrenceResult RnnCell::run(const Tensor& x, bool projected, const CellState& state,
                              const Tensor& valid) {
  if (!norm) return RecurrentCell::run(x, projected, state, valid);
  const Tensor a = projected ? x : project(x), zero = zeros({}, x.dtype());
  const TensorList steps = a.ndim() == 3 ? unbind(a, 1) : TensorList{a};
  const TensorList valid_steps = valid ? unbind(valid, 1) : TensorList(steps.size());
  Tensor h = state.h ? state.h : zeros({x.size(0), hidden_size()}, x.dtype());
  TensorList outputs;
  for (size_t t = 0; t < steps.size(); ++t) {
    const Tensor sum = (*norm)(steps[t] + linear(h, weight_hh, bias_hh), valid_steps[t]);
    const Tensor next = kind_ == CellKind::tanh ? tanh(sum) : relu(sum);
    const Tensor there = valid ? unsqueeze(valid_steps[t], -1) : Tensor();
    h = valid ? where(there, next, h) : next;
    outputs.push_back(valid ? where(there, next, zero) : next);
  }
  return {a.ndim() == 3 ? stack(outputs, 1) : Tensor(), {h, {}}};
}

void RnnCell::visit(Visitor& visitor) {
  RecurrentCell::visit(visitor);
  if (norm) visitor.module("norm", **norm);
}

std::string RnnCell::describe() const {
  return fmt::format("RnnCell({}, {}, {}{})", input_size(), hidden_size(),
                     kind_ == CellKind::tanh ? "tanh" : "relu", norm ? ", norm" : "");
}

LstmCell::LstmCell(int64_t input_size, int64_t hidden_size, GatedCellOptions options)
    : RecurrentCell(CellKind::lstm, input_size, hidden_size, options.bias) {}

std::string LstmCell::describe() const {
  return fmt::format("LstmCell({}, {})", input_size(), hidden_size());
}

GruCell::GruCell(int64_t input_size, int64_t hidden_size, GatedCellOptions options)
    : RecurrentCell(CellKind::gru, input_size, hidden_size, options.bias) {}

std::string GruCell::describe() const {
  return fmt::format("GruCell({}, {})", input_size(), hidden_size());
}

}  // namespace gradus

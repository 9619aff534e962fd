#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/detail/run_steps.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/detail/step_norms.h>
#include <gradus/layers/lengths.h>
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

void RecurrentCell::check_inputs(const char* what, const Tensor& x, const CellState& state,
                                 bool projected) const {
  const int64_t features = projected ? weight_ih.shape()[0] : input_size();
  if (x.shape().back() != features) [[unlikely]]
    fail("{}: {} features in x {}, not {}", what, x.shape().back(), x.shape(), features);
  const Shape expected{x.shape()[0], hidden_size()};
  for (const Tensor* first : {&state.h, &state.c})
    if (*first && first->shape() != expected) [[unlikely]]
      fail("{}: the first state is {}, must be {} for x {}", what, first->shape(), expected,
           x.shape());
  check(!state.c || kind_ == CellKind::lstm, "{}: a first c, which only an LSTM has", what);
}

Tensor RecurrentCell::checked_input(const char* what, const Tensor& x, bool projected,
                                    const CellState& state, const Tensor& valid) const {
  check(x.ndim() == 2 || x.ndim() == 3,
        "{}: x is {}, must be (N, T, D), or (N, D) for a single step", what, x.shape());
  check_inputs(what, x, state, projected);
  return valid ? clear_padding(x, valid) : x;
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
  norms = detail::make_norms("RnnCell", options.norm, hidden_size, options.norm_steps);
}

RecurrenceResult RnnCell::run(const Tensor& x, bool projected, const CellState& state,
                              const Tensor& valid) {
  if (norms.empty()) return RecurrentCell::run(x, projected, state, valid);
  check(
      x.ndim() == 3 || norms.size() == 1,
      "RnnCell: x {} is a single step, but there is a norm for each of {} steps; run it in an Rnn",
      x.shape(), norms.size());
  const Tensor clean = checked_input("RnnCell", x, projected, state, valid);
  return detail::run_steps(
      kind_, hidden_size(), projected ? clean : project(clean), state, valid,
      [&](size_t t, const Tensor& a, const CellState& before, const Tensor& there) {
        const Tensor u = linear(before.h, weight_hh, bias_hh);
        const Tensor sum = detail::norm_of_step(norms, t)(a + u, there);
        return CellState(kind_ == CellKind::tanh ? tanh(sum) : relu(sum));
      });
}

void RnnCell::visit(Visitor& visitor) {
  RecurrentCell::visit(visitor);
  detail::visit_norms(visitor, norms, "norm");
}

std::string RnnCell::describe() const {
  return fmt::format("RnnCell({}, {}, {}{})", input_size(), hidden_size(),
                     kind_ == CellKind::tanh ? "tanh" : "relu",
                     norms.empty()       ? ""
                     : norms.size() == 1 ? ", norm"
                                         : ", norm per step");
}

namespace {

void check_unprojected(const char* what, bool projected) {
  check(!projected, "{}: norms of the projected inputs beside the cell's own; leave one out", what);
}

}  // namespace

LstmCell::LstmCell(int64_t input_size, int64_t hidden_size, const GatedCellOptions& options)
    : RecurrentCell(CellKind::lstm, input_size, hidden_size, options.bias) {
  if (!options.norm) return;
  norm_ih = options.norm(4 * hidden_size);
  norm_hh = options.norm(4 * hidden_size);
  norm_c = options.norm(hidden_size);
}

RecurrenceResult LstmCell::run(const Tensor& x, bool projected, const CellState& state,
                               const Tensor& valid) {
  if (!norm_ih) return RecurrentCell::run(x, projected, state, valid);
  check_unprojected("LstmCell", projected);
  const Tensor clean = checked_input("LstmCell", x, projected, state, valid);
  Tensor a = (*norm_ih)(linear(clean, weight_ih), valid);
  if (bias_ih) a = a + (bias_ih + bias_hh);
  return detail::run_steps(
      kind_, hidden_size(), a, state, valid,
      [&](size_t, const Tensor& a_t, const CellState& before, const Tensor& there) {
        const Tensor u = (*norm_hh)(linear(before.h, weight_hh), there);
        return cell_step(kind_, a_t, u, before,
                         [&](const Tensor& c) { return (*norm_c)(c, there); });
      });
}

void LstmCell::visit(Visitor& visitor) {
  RecurrentCell::visit(visitor);
  if (!norm_ih) return;
  visitor.module("norm_ih", **norm_ih);
  visitor.module("norm_hh", **norm_hh);
  visitor.module("norm_c", **norm_c);
}

std::string LstmCell::describe() const {
  return fmt::format("LstmCell({}, {}{})", input_size(), hidden_size(), norm_ih ? ", norm" : "");
}

GruCell::GruCell(int64_t input_size, int64_t hidden_size, const GatedCellOptions& options)
    : RecurrentCell(CellKind::gru, input_size, hidden_size, options.bias) {
  if (!options.norm) return;
  norm_ih = options.norm(2 * hidden_size);
  norm_hh = options.norm(2 * hidden_size);
  norm_in = options.norm(hidden_size);
  norm_hn = options.norm(hidden_size);
}

RecurrenceResult GruCell::run(const Tensor& x, bool projected, const CellState& state,
                              const Tensor& valid) {
  if (!norm_ih) return RecurrentCell::run(x, projected, state, valid);
  check_unprojected("GruCell", projected);
  const Tensor clean = checked_input("GruCell", x, projected, state, valid);
  const int64_t gates = 2 * hidden_size();
  const auto normalized = [&](const Tensor& product, AnyNorm& of_gates, AnyNorm& of_n,
                              const Tensor& bias, const Tensor& there) {
    const Tensor parts = concat({of_gates(slice(product, -1, 0, gates), there),
                                 of_n(slice(product, -1, gates, product.size(-1)), there)},
                                -1);
    return bias ? parts + bias : parts;
  };
  const Tensor a = normalized(linear(clean, weight_ih), *norm_ih, *norm_in, bias_ih, valid);
  return detail::run_steps(
      kind_, hidden_size(), a, state, valid,
      [&](size_t, const Tensor& a_t, const CellState& before, const Tensor& there) {
        const Tensor product = linear(before.h, weight_hh);
        return cell_step(kind_, a_t, normalized(product, *norm_hh, *norm_hn, bias_hh, there),
                         before);
      });
}

void GruCell::visit(Visitor& visitor) {
  RecurrentCell::visit(visitor);
  if (!norm_ih) return;
  visitor.module("norm_ih", **norm_ih);
  visitor.module("norm_hh", **norm_hh);
  visitor.module("norm_in", **norm_in);
  visitor.module("norm_hn", **norm_hn);
}

std::string GruCell::describe() const {
  return fmt::format("GruCell({}, {}{})", input_size(), hidden_size(), norm_ih ? ", norm" : "");
}

}  // namespace gradus

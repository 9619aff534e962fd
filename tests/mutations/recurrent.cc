#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/rnn.h>

#include "tests/mutations/module_trial.h"

namespace gradus::mutations {

namespace {

// What the op keeps, in this order.
enum { kX, kWih, kWhh, kBih, kBhh, kH, kC, kValid, kStates, kCells, kGates };

std::function<Trial(uint64_t)> of_rnn_cell() {
  return [](uint64_t seed) {
    return module_trial(
        seed, RnnCell(3, 4), {normal({5, 3}, seed, "x"), normal({5, 4}, seed, "h")},
        [](RnnCell& m, std::span<const Tensor> x) { return m.forward(x[0], x[1]); });
  };
}

std::function<Trial(uint64_t)> of_rnn() {
  return [](uint64_t seed) {
    return module_trial(seed, Rnn(3, 4), {normal({2, 3, 3}, seed, "x")},
                        [](Rnn& m, std::span<const Tensor> x) { return m.forward(x[0]).y; });
  };
}

std::function<Trial(uint64_t)> of_lstm_cell() {
  return [](uint64_t seed) {
    return module_trial(
        seed, LstmCell(3, 4),
        {normal({5, 3}, seed, "x"), normal({5, 4}, seed, "h"), normal({5, 4}, seed, "c")},
        [](LstmCell& m, std::span<const Tensor> x) {
          const CellState state = m.forward(x[0], {x[1], x[2]});
          return concat({state.h, state.c}, 1);
        });
  };
}

std::function<Trial(uint64_t)> of_gru_cell() {
  return [](uint64_t seed) {
    return module_trial(
        seed, GruCell(3, 4), {normal({5, 3}, seed, "x"), normal({5, 4}, seed, "h")},
        [](GruCell& m, std::span<const Tensor> x) { return m.forward(x[0], x[1]); });
  };
}

/// Of one step, the rest from the gradients of a = x w_ih^T + b_ih and u = h w_hh^T + b_hh.
void set_from_sums(Backward& c, const Tensor& da, const Tensor& du) {
  c.set(kX, matmul(da, c.kept(kWih)));
  c.set(kWih, matmul(da, c.kept(kX), true));
  c.set(kWhh, matmul(du, c.kept(kH), true));
  c.set(kBih, sum(da, {0}));
  c.set(kBhh, sum(du, {0}));
  c.set(kH, matmul(du, c.kept(kWhh)));
}

Tensor next_h(Backward& c) { return select(c.kept(kStates), 0, 1); }
Tensor gate(Backward& c, int64_t k) {
  const Tensor gates = select(c.kept(kGates), 0, 0);
  const int64_t hidden = gates.size(1) / 4;
  return slice(gates, 1, k * hidden, (k + 1) * hidden);
}

/// All of one LSTM step from d, the gradient of c', and the factor of d in the forget gate's.
void set_from_cell(Backward& c, const Tensor& d, const Tensor& factor_of_f) {
  const Tensor i = gate(c, 0), f = gate(c, 1), g = gate(c, 2), o = gate(c, 3);
  const Tensor q = tanh(select(c.kept(kCells), 0, 1));
  const Tensor da = concat({d * g * i * (1.0 - i), d * factor_of_f * f * (1.0 - f),
                            d * i * (1.0 - g * g), c.dy(0) * q * o * (1.0 - o)},
                           1);
  set_from_sums(c, da, da);
  c.set(kC, d * f);
}

/// The gradient of c' in an LSTM step.
Tensor cell_gradient(Backward& c) {
  const Tensor q = tanh(select(c.kept(kCells), 0, 1));
  return c.dy(1) + c.dy(0) * gate(c, 3) * (1.0 - q * q);
}

}  // namespace

std::vector<Mutant> recurrent_mutants() {
  return {
      {"Rnn",
       "rnn",
       "RnnCell: 1 - |y| for 1 - y^2",
       [](Backward& c) {
         const Tensor da = c.dy(0) * (1.0 - abs(next_h(c)));
         set_from_sums(c, da, da);
       },
       of_rnn_cell(),
       {"x", "h", "weight_ih", "weight_hh", "bias_ih", "bias_hh"}},
      {"Rnn",
       "rnn",
       "RnnCell: missing transposition, hidden to hidden",
       [](Backward& c) {
         right_backward(c);
         const Tensor da = c.dy(0) * (1.0 - square(next_h(c))), w = c.kept(kWhh);
         c.set(kH, matmul(da, w, false, true) - matmul(da, w));
       },
       of_rnn_cell(),
       {"h"},
       Pattern::transposition},
      {"Rnn",
       "rnn",
       "no gradient from step to step",
       [](Backward& c) {
         const Tensor states = transpose(c.kept(kStates), 0, 1);
         const Tensor h = raw::contiguous(slice(states, 1, 0, states.size(1) - 1));
         const Function f = [&h](const Tensor& x, const Tensor& w_ih, const Tensor& w_hh,
                                 const Tensor& b_ih, const Tensor& b_hh) {
           return tanh(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh));
         };
         const std::vector<Tensor> d = right(
             f, {c.kept(kX), c.kept(kWih), c.kept(kWhh), c.kept(kBih), c.kept(kBhh)}, c.dy(1));
         for (int i = 0; i < 5; ++i) c.set(i, d[static_cast<size_t>(i)]);
       },
       of_rnn(),
       {"x", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"},
       Pattern::entries_missing},
      {"Lstm",
       "lstm",
       "LstmCell: nothing from h' to c'",
       [](Backward& c) { set_from_cell(c, c.dy(1), c.kept(kC)); },
       of_lstm_cell(),
       {"c", "x", "h", "weight_ih", "weight_hh", "bias_ih", "bias_hh"},
       Pattern::entries_missing},
      {"Lstm",
       "lstm",
       "LstmCell: the forget gate's with the new cell",
       [](Backward& c) { set_from_cell(c, cell_gradient(c), select(c.kept(kCells), 0, 1)); },
       of_lstm_cell(),
       {"x", "h", "weight_ih", "weight_hh", "bias_ih", "bias_hh"}},
      {"Gru",
       "gru",
       "GruCell: the reset gate left out of du",
       [](Backward& c) {
         right_backward(c);
         const Tensor r = gate(c, 0), z = gate(c, 1), n = gate(c, 2);
         const Tensor extra = c.dy(0) * (1.0 - z) * (1.0 - n * n) * (1.0 - r);
         const Tensor w = slice(c.kept(kWhh), 0, 8, 12), none = zeros({5, 8}, DType::f64);
         const Tensor du = concat({none, extra}, 1);
         c.set(kWhh, matmul(du, c.kept(kH), true));
         c.set(kBhh, sum(du, {0}));
         c.set(kH, matmul(extra, w));
       },
       of_gru_cell(),
       {"h", "weight_hh", "bias_hh"}},
      {"Gru",
       "gru",
       "GruCell: h' = (1 - z) n + z h without its last term",
       [](Backward& c) {
         right_backward(c);
         c.set(kH, -(c.dy(0) * gate(c, 1)));
       },
       of_gru_cell(),
       {"h"}},
  };
}

}  // namespace gradus::mutations

#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/rnn.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

template <CellKind kind>
std::vector<OpSample> samples() {
  constexpr int64_t n = 3, t = 4, d = 2, h = 3, rows = gates_of(kind) * h;
  // x, w_hh, biases, states, and last w_ih where x is not projected.
  const auto inputs = [=](const Shape& x, bool projected) {
    std::vector<Tensor> all{sample(x, 1), sample({rows, h}, 3), sample({rows}, 4),
                            sample({rows}, 5), sample({n, h}, 6)};
    if (kind == CellKind::lstm) all.push_back(sample({n, h}, 7));
    if (!projected) all.push_back(sample({rows, d}, 2, -1, 1));
    return all;
  };
  const auto run = [](bool projected, const Tensor& valid) {
    return [=](std::span<const Tensor> in) {
      const Tensor none, &w_ih = projected ? none : in.back(),
                         &c = kind == CellKind::lstm ? in[5] : none;
      const auto [y, state] =
          recurrence(kind, in[0], {in[4], c}, {w_ih, in[1], in[2], in[3]}, valid);
      TensorList results{flatten(state.h)};
      if (state.c) results.push_back(flatten(state.c));
      if (y) results.push_back(flatten(y));
      return concat(results);
    };
  };
  const Tensor ends = Tensor::of({3, 0, 1}),
               valid = less(reshape(arange(t, DType::f32), {1, t}), reshape(ends, {n, 1}));
  return {{"4 steps", inputs({n, t, d}, false), run(false, {})},
          {"padded", inputs({n, t, d}, false), run(false, valid)},
          {"of a projected input", inputs({n, t, rows}, true), run(true, {})},
          {"one step", inputs({n, d}, false), run(false, {})}};
}

}  // namespace

static OpSamples rnn_row("rnn", samples<CellKind::tanh>);

static OpSamples rnn_relu_row("rnn_relu", samples<CellKind::relu>);

static OpSamples lstm_row("lstm", samples<CellKind::lstm>);

static OpSamples gru_row("gru", samples<CellKind::gru>);

}  // namespace gradus

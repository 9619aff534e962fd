#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/rnn_cell.h>

namespace gradus {

static ModuleSamples rnn_cell_row("RnnCell", [] {
  const auto step = [](RnnCell& cell, std::span<const Tensor> x) {
    return cell.forward(x[0], x[1]);
  };
  return std::vector{
      module_sample("tanh", RnnCell(3, 4), {sample({5, 3}, 1), sample({5, 4}, 2)}, step),
      module_sample("relu, layer norm",
                    RnnCell(3, 4,
                            {.nonlinearity = Nonlinearity::relu,
                             .norm = [](int64_t n) { return LayerNorm(n); }}),
                    {sample({5, 3}, 1), sample({5, 4}, 2)}, step)};
});

static ModuleSamples lstm_cell_row("LstmCell", [] {
  const auto step = [](LstmCell& cell, std::span<const Tensor> x) {
    const CellState state = cell.forward(x[0], {x[1], x[2]});
    return concat({state.h, state.c});
  };
  const std::vector<Tensor> inputs{sample({5, 3}, 1), sample({5, 4}, 2), sample({5, 4}, 3)};
  return std::vector{
      module_sample("(5, 3)", LstmCell(3, 4), inputs, step),
      module_sample("layer norm", LstmCell(3, 4, {.norm = [](int64_t n) { return LayerNorm(n); }}),
                    inputs, step)};
});

static ModuleSamples gru_cell_row("GruCell", [] {
  const auto step = [](GruCell& cell, std::span<const Tensor> x) {
    return cell.forward(x[0], x[1]);
  };
  const std::vector<Tensor> inputs{sample({5, 3}, 1), sample({5, 4}, 2)};
  return std::vector{
      module_sample("(5, 3)", GruCell(3, 4), inputs, step),
      module_sample("layer norm, no bias",
                    GruCell(3, 4, {.bias = false, .norm = [](int64_t n) { return LayerNorm(n); }}),
                    inputs, step)};
});

}  // namespace gradus

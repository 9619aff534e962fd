#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/lengths.h>
#include <gradus/layers/rnn.h>

namespace gradus {

namespace {

Tensor everything(const RnnOutput& out) {
  TensorList parts{flatten(out.y), flatten(out.h)};
  if (out.c) parts.push_back(flatten(out.c));
  return concat(parts);
}

AnyNorm over_steps(int64_t features) { return BatchNorm(features, {.channels_last = true}); }

template <class Cell>
void add_samples(std::vector<ModuleSample>& samples) {
  const Tensor lengths = raw::cast(Tensor::of({3, 1, 4, 2}), DType::i64);
  const auto add = [&](const char* label, Recurrent<Cell> model, std::vector<Tensor> inputs,
                       auto forward) {
    samples.push_back(module_sample(fmt::format("{}, {}", Cell::kSequenceName, label),
                                    std::move(model), std::move(inputs), forward));
  };
  using Inputs = std::span<const Tensor>;
  add("with a first state", Recurrent<Cell>(3, 4), {sample({2, 3, 3}, 1), sample({2, 4}, 2)},
      [](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0], {}, x[1])); });
  add("batch norm, padded", Recurrent<Cell>(3, 2, {.norm = over_steps}), {sample({4, 4, 3}, 1)},
      [lengths](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0], lengths)); });
  add("batch norm per step", Recurrent<Cell>(2, 2, {.norm = over_steps, .norm_steps = 2}),
      {sample({4, 3, 2}, 1)}, [](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0])); });
  const Tensor ending = Tensor::of({3, 2, 0, 2}, DType::i64);  // at last one, then none
  add("batch norm per step, padded", Recurrent<Cell>(2, 2, {.norm = over_steps, .norm_steps = 4}),
      {sample({4, 4, 2}, 1)},
      [ending](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0], ending)); });
  add("two layers, bidirectional, padded",
      Recurrent<Cell>(2, 2, {.num_layers = 2, .bidirectional = true}),
      {sample({4, 4, 2}, 1), sample({4, 4, 2}, 2)},
      [lengths](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0], lengths, x[1])); });
  add("bidirectional, batch norm, padded",
      Recurrent<Cell>(2, 2, {.norm = over_steps, .bidirectional = true}), {sample({4, 4, 2}, 1)},
      [lengths](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0], lengths)); });
  add("layer norm in the cell, padded",
      Recurrent<Cell>(3, 2, {.cell = {.norm = [](int64_t n) { return LayerNorm(n); }}}),
      {sample({4, 4, 3}, 1)},
      [lengths](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0], lengths)); });
}

}  // namespace

static ModuleSamples recurrent_row("Recurrent", [] {
  std::vector<ModuleSample> samples;
  add_samples<RnnCell>(samples);
  // At last none: of one, the running statistics that serve were moved by the steps before.
  const Tensor ending = Tensor::of({3, 2, 3, 2}, DType::i64);
  samples.push_back(module_sample(
      "Rnn, batch norm of the sum per step, padded",
      Rnn(2, 2, {.cell = {.norm = over_steps, .norm_steps = 2}}), {sample({4, 4, 2}, 1)},
      [ending](Rnn& m, std::span<const Tensor> x) { return everything(m(x[0], ending)); }));
  add_samples<LstmCell>(samples);
  add_samples<GruCell>(samples);
  return samples;
});

}  // namespace gradus

#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/sample.h>
#include <gradus/layers/gradcheck.h>
#include <gradus/layers/lengths.h>
#include <gradus/layers/rnn.h>

#include <algorithm>

namespace gradus {

template <class Cell>
Recurrent<Cell>::Recurrent(int64_t input_size, int64_t hidden_size, RecurrentOptions<Cell> options)
    : cell(input_size, hidden_size, options.cell) {
  const int64_t count = options.batch_norm ? std::max<int64_t>(1, options.batch_norm_steps) : 0;
  for (int64_t t = 0; t < count; ++t)
    norms.emplace_back(cell.weight_ih.size(0), BatchNormOptions{.channels_last = true});
  finish_construction();
}

template <class Cell>
Tensor Recurrent<Cell>::normalized_projection(const Tensor& x, const Tensor& valid) {
  const Tensor projected = cell.project(x);
  if (norms.size() == 1) return norms[0].forward(projected, valid);
  TensorList steps = unbind(projected, 1);
  const TensorList valid_steps = valid ? unbind(valid, 1) : TensorList(steps.size());
  for (size_t t = 0; t < steps.size(); ++t)
    steps[t] = norms[std::min(t, norms.size() - 1)].forward(steps[t], valid_steps[t]);
  return stack(steps, 1);
}

template <class Cell>
RnnOutput Recurrent<Cell>::forward(const Tensor& x, const Tensor& lengths, const CellState& state) {
  const ErrorContext context(name());
  const char* const what = Cell::kSequenceName;
  check(x.ndim() == 3, "{}: x must be (N, T, D), is {}", what, x.shape());
  check(x.shape()[1] > 0, "{}: no steps in x {}", what, x.shape());
  check(!lengths || lengths.numel() == x.shape()[0], "{}: {} lengths for {} sequences in x {}",
        what, lengths ? lengths.numel() : 0, x.shape()[0], x.shape());
  cell.check_inputs(what, x, state);
  const Tensor valid = lengths ? length_mask(lengths, x.shape()[1]) : Tensor();
  const Tensor clean = valid ? clear_padding(x, valid) : x;
  const bool projected = !norms.empty();
  auto [y, last] =
      cell.run(projected ? normalized_projection(clean, valid) : clean, projected, state, valid);
  return {std::move(y), std::move(last.h), std::move(last.c)};
}

template <class Cell>
void Recurrent<Cell>::visit(Visitor& visitor) {
  visitor.module("cell", cell);
  for (size_t t = 0; t < norms.size(); ++t)
    visitor.module(norms.size() == 1 ? "norm" : "norm." + std::to_string(t), norms[t]);
}

template <class Cell>
std::string Recurrent<Cell>::describe() const {
  const std::string kind = Cell::kSequenceName;
  if (norms.empty()) return kind;
  return kind + (norms.size() == 1 ? "(batch norm, over all steps)" : "(batch norm, per step)");
}

template class Recurrent<RnnCell>;
template class Recurrent<LstmCell>;
template class Recurrent<GruCell>;

namespace {

Tensor everything(const RnnOutput& out) {
  TensorList parts{flatten(out.y), flatten(out.h)};
  if (out.c) parts.push_back(flatten(out.c));
  return concat(parts);
}

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
  add("batch norm, padded", Recurrent<Cell>(3, 2, {.batch_norm = true}), {sample({4, 4, 3}, 1)},
      [lengths](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0], lengths)); });
  add("batch norm per step", Recurrent<Cell>(2, 2, {.batch_norm = true, .batch_norm_steps = 2}),
      {sample({4, 3, 2}, 1)}, [](Recurrent<Cell>& m, Inputs x) { return everything(m(x[0])); });
}

}  // namespace

static ModuleRow recurrent_row("Recurrent", [] {
  std::vector<ModuleSample> samples;
  add_samples<RnnCell>(samples);
  add_samples<LstmCell>(samples);
  add_samples<GruCell>(samples);
  return samples;
});

}  // namespace gradus

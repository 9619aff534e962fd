#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/autograd/sample.h>
#include <gradus/layers/gradcheck.h>
#include <gradus/layers/lengths.h>
#include <gradus/layers/rnn.h>

#include <algorithm>

namespace gradus {

RnnCell::RnnCell(int64_t input_size, int64_t hidden_size, RnnCellOptions options)
    : nonlinearity_(options.nonlinearity) {
  check(input_size > 0 && hidden_size > 0, "RnnCell: {} inputs, {} hidden", input_size,
        hidden_size);
  weight_ih = Parameter(empty({hidden_size, input_size}));
  weight_hh = Parameter(empty({hidden_size, hidden_size}));
  if (options.bias) {
    bias_ih = Parameter(empty({hidden_size}));
    bias_hh = Parameter(empty({hidden_size}));
  }
  if (options.layer_norm) norm.emplace(hidden_size);
  finish_construction();
}

Tensor RnnCell::project(const Tensor& x) {
  check(x.size(-1) == input_size(), "RnnCell: {} features in x {}, not {}", x.size(-1), x.shape(),
        input_size());
  return linear(x, weight_ih, bias_ih);
}

Tensor RnnCell::advance(const Tensor& projected, const Tensor& h) {
  Tensor a = projected + linear(h, weight_hh, bias_hh);
  if (norm) a = norm->forward(a);
  return nonlinearity_ == Nonlinearity::tanh ? tanh(a) : relu(a);
}

Tensor RnnCell::forward(const Tensor& x, const Tensor& h) {
  const ErrorContext where(name());
  return advance(project(x), h);
}

void RnnCell::visit(Visitor& visitor) {
  const Init init = Init::fan_in_uniform(hidden_size());
  visitor.parameter("weight_ih", weight_ih, init);
  visitor.parameter("weight_hh", weight_hh, init);
  visitor.parameter("bias_ih", bias_ih, init);
  visitor.parameter("bias_hh", bias_hh, init);
  if (norm) visitor.module("norm", *norm);
}

std::string RnnCell::describe() const {
  return fmt::format("RnnCell({}, {}, {}{})", input_size(), hidden_size(),
                     nonlinearity_ == Nonlinearity::tanh ? "tanh" : "relu",
                     norm ? ", layer norm" : "");
}

Rnn::Rnn(int64_t input_size, int64_t hidden_size, RnnOptions options)
    : cell(input_size, hidden_size, options.cell) {
  const int64_t count = options.batch_norm ? std::max<int64_t>(1, options.batch_norm_steps) : 0;
  for (int64_t t = 0; t < count; ++t)
    norms.emplace_back(hidden_size, BatchNormOptions{.channels_last = true});
  finish_construction();
}

Tensor Rnn::normalized_projection(const Tensor& x, const Tensor& valid) {
  Tensor projected = cell.project(valid ? clear_padding(x, valid) : x);
  if (norms.empty()) return projected;
  if (norms.size() == 1) return norms[0].forward(projected, valid);
  TensorList steps = unbind(projected, 1);
  const TensorList valid_steps = valid ? unbind(valid, 1) : TensorList(steps.size());
  for (size_t t = 0; t < steps.size(); ++t)
    steps[t] = norms[std::min(t, norms.size() - 1)].forward(steps[t], valid_steps[t]);
  return stack(steps, 1);
}

RnnOutput Rnn::forward(const Tensor& x, const Tensor& lengths, const Tensor& h0) {
  const ErrorContext context(name());
  check(x.ndim() == 3, "Rnn: x must be (N, T, D), is {}", x.shape());
  check(x.size(1) > 0, "Rnn: no steps in x {}", x.shape());
  check(!lengths || lengths.numel() == x.size(0), "Rnn: {} lengths for {} sequences in x {}",
        lengths ? lengths.numel() : 0, x.size(0), x.shape());
  const Shape state{x.size(0), cell.hidden_size()};
  check(!h0 || h0.shape() == state, "Rnn: the first state is {}, must be {} for x {}",
        h0 ? h0.shape() : Shape(), state, x.shape());
  const Tensor valid = lengths ? length_mask(lengths, x.size(1)) : Tensor();
  const TensorList inputs = unbind(normalized_projection(x, valid), 1);
  const TensorList valid_steps = valid ? unbind(unsqueeze(valid, -1), 1) : TensorList();
  const Tensor zero = zeros({}, x.dtype());
  Tensor h = h0 ? h0 : zeros(state, x.dtype());
  TensorList states;
  for (size_t t = 0; t < inputs.size(); ++t) {
    const Tensor next = cell.advance(inputs[t], h);
    h = valid ? where(valid_steps[t], next, h) : next;
    states.push_back(valid ? where(valid_steps[t], next, zero) : next);
  }
  return {stack(states, 1), h};
}

void Rnn::visit(Visitor& visitor) {
  visitor.module("cell", cell);
  for (size_t t = 0; t < norms.size(); ++t)
    visitor.module(norms.size() == 1 ? "norm" : "norm." + std::to_string(t), norms[t]);
}

std::string Rnn::describe() const {
  return norms.empty() ? "Rnn"
                       : fmt::format("Rnn(batch norm, {})",
                                     norms.size() == 1 ? "over all steps" : "per step");
}

static ModuleRow rnn_cell_row("RnnCell", [] {
  const auto step = [](RnnCell& cell, std::span<const Tensor> x) {
    return cell.forward(x[0], x[1]);
  };
  return std::vector{
      module_sample("tanh", RnnCell(3, 4), {sample({5, 3}, 1), sample({5, 4}, 2)}, step),
      module_sample("relu, layer norm",
                    RnnCell(3, 4, {.nonlinearity = Nonlinearity::relu, .layer_norm = true}),
                    {sample({5, 3}, 1), sample({5, 4}, 2)}, step)};
});

static ModuleRow rnn_row("Rnn", [] {
  const Tensor lengths = raw::cast(Tensor::of({3, 1, 4, 2}), DType::i64);
  const auto both = [](const RnnOutput& out) { return concat({flatten(out.y), flatten(out.h)}); };
  const auto all_steps = [both](Rnn& rnn, std::span<const Tensor> x) {
    return both(rnn.forward(x[0], {}, x[1]));
  };
  const auto padded = [both, lengths](Rnn& rnn, std::span<const Tensor> x) {
    return both(rnn.forward(x[0], lengths));
  };
  return std::vector{
      module_sample("with a first state", Rnn(3, 4), {sample({2, 3, 3}, 1), sample({2, 4}, 2)},
                    all_steps),
      module_sample("batch norm, padded", Rnn(3, 2, {.batch_norm = true}), {sample({4, 4, 3}, 1)},
                    padded),
      module_sample("batch norm per step", Rnn(2, 2, {.batch_norm = true, .batch_norm_steps = 2}),
                    {sample({4, 3, 2}, 1)},
                    [both](Rnn& rnn, std::span<const Tensor> x) { return both(rnn(x[0])); })};
});

}  // namespace gradus

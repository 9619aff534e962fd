#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/detail/step_norms.h>
#include <gradus/layers/lengths.h>
#include <gradus/layers/rnn.h>

namespace gradus {

template <class Cell>
Recurrent<Cell>::Recurrent(int64_t input_size, int64_t hidden_size, RecurrentOptions<Cell> options)
    : cell(input_size, hidden_size, options.cell),
      norms(detail::make_norms(Cell::kSequenceName, options.norm, cell.weight_ih.size(0),
                               options.norm_steps)) {}

template <class Cell>
Tensor Recurrent<Cell>::normalized_projection(const Tensor& x, const Tensor& valid) {
  const Tensor projected = cell.project(valid ? clear_padding(x, valid) : x);
  if (norms.size() == 1) return norms[0](projected, valid);
  TensorList steps = unbind(projected, 1);
  const TensorList valid_steps = valid ? unbind(valid, 1) : TensorList(steps.size());
  for (size_t t = 0; t < steps.size(); ++t)
    steps[t] = detail::norm_of_step(norms, t)(steps[t], valid_steps[t]);
  return stack(steps, 1);
}

template <class Cell>
RnnOutput Recurrent<Cell>::forward(const Tensor& x, const Tensor& lengths, const CellState& state) {
  const ForwardScope scope(*this);
  const char* const what = Cell::kSequenceName;
  check(x.ndim() == 3, "{}: x must be (N, T, D), is {}", what, x.shape());
  check(x.shape()[1] > 0, "{}: no steps in x {}", what, x.shape());
  check(!lengths || lengths.numel() == x.shape()[0], "{}: {} lengths for {} sequences in x {}",
        what, lengths ? lengths.numel() : 0, x.shape()[0], x.shape());
  cell.check_inputs(what, x, state);
  const Tensor valid = lengths ? length_mask(lengths, x.shape()[1]) : Tensor();
  const bool projected = !norms.empty();
  auto [y, last] =
      cell.run(projected ? normalized_projection(x, valid) : x, projected, state, valid);
  return {std::move(y), std::move(last.h), std::move(last.c)};
}

template <class Cell>
void Recurrent<Cell>::visit(Visitor& visitor) {
  visitor.module("cell", cell);
  detail::visit_norms(visitor, norms);
}

template <class Cell>
std::string Recurrent<Cell>::describe() const {
  std::string kind = Cell::kSequenceName;
  if (norms.empty()) return kind;
  return kind + (norms.size() == 1 ? "(norm over all steps)" : "(norm per step)");
}

template class Recurrent<RnnCell>;
template class Recurrent<LstmCell>;
template class Recurrent<GruCell>;

}  // namespace gradus

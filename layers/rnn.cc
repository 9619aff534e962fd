#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/detail/step_norms.h>
#include <gradus/layers/lengths.h>
#include <gradus/layers/rnn.h>

#include <algorithm>

namespace gradus {

namespace {

Tensor normalized(std::vector<AnyNorm>& norms, const Tensor& projected, const Tensor& valid) {
  if (norms.size() == 1) return norms[0](projected, valid);
  TensorList steps = unbind(projected, 1);
  const TensorList valid_steps = valid ? unbind(valid, 1) : TensorList(steps.size());
  for (size_t t = 0; t < steps.size(); ++t)
    steps[t] = detail::norm_of_step(norms, t)(steps[t], valid_steps[t]);
  return stack(steps, 1);
}

/// The steps of x (N, T, ...) from the last to the first. Padding then comes first, where a state
/// stays as it is.
Tensor backward_in_time(const Tensor& x) {
  Tensor steps = arange(x.shape()[1]);
  int64_t* step = steps.mutable_data<int64_t>();
  std::reverse(step, step + steps.numel());
  return index_select(x, 1, steps);
}

/// Shows what is shown to it to another visitor, with a suffix to the first part of each name.
class Suffixed : public Visitor {
 public:
  Suffixed(Visitor& visitor, std::string suffix) : visitor_(visitor), suffix_(std::move(suffix)) {}

 protected:
  void on_parameter(std::string_view name, Parameter& parameter) override {
    visitor_.parameter(with_suffix(name), parameter);
  }
  void on_module(std::string_view name, Module& module) override {
    visitor_.module(with_suffix(name), module);
  }

 private:
  std::string with_suffix(std::string_view name) const {
    const size_t end = std::min(name.find('.'), name.size());
    return fmt::format("{}{}{}", name.substr(0, end), suffix_, name.substr(end));
  }
  Visitor& visitor_;
  std::string suffix_;
};

}  // namespace

template <class Cell>
Recurrent<Cell>::Recurrent(int64_t input_size, int64_t hidden_size, RecurrentOptions<Cell> options)
    : directions_(options.bidirectional ? 2 : 1), dropout_(options.dropout) {
  const char* const what = Cell::kSequenceName;
  constexpr int64_t kMostLayers = 1 << 16;
  check(options.num_layers > 0 && options.num_layers <= kMostLayers, "{}: {} layers, not 1 to {}",
        what, options.num_layers, kMostLayers);
  check(dropout_ >= 0 && dropout_ <= 1, "{}: a dropout of {} does not lie in [0, 1]", what,
        dropout_);
  for (int64_t pass = 0; pass < options.num_layers * directions_; ++pass) {
    Cell cell(pass < directions_ ? input_size : directions_ * hidden_size, hidden_size,
              options.cell);
    std::vector<AnyNorm> norms =
        detail::make_norms(what, options.norm, cell.weight_ih.size(0), options.norm_steps);
    passes.push_back({std::move(cell), std::move(norms)});
  }
}

template <class Cell>
RecurrenceResult Recurrent<Cell>::run(size_t pass, const Tensor& x, const CellState& state,
                                      const Tensor& valid) {
  auto& [cell, norms] = passes[pass];
  if (norms.empty()) return cell.run(x, false, state, valid);
  const Tensor projected = cell.project(valid ? clear_padding(x, valid) : x);
  return cell.run(normalized(norms, projected, valid), true, state, valid);
}

template <class Cell>
RnnOutput Recurrent<Cell>::forward(const Tensor& x, const Tensor& lengths, const CellState& state) {
  const ForwardScope scope(*this);
  const char* const what = Cell::kSequenceName;
  check(x.ndim() == 3, "{}: x must be (N, T, D), is {}", what, x.shape());
  check(x.shape()[1] > 0, "{}: no steps in x {}", what, x.shape());
  check(!lengths || lengths.numel() == x.shape()[0], "{}: {} lengths for {} sequences in x {}",
        what, lengths ? lengths.numel() : 0, x.shape()[0], x.shape());
  const size_t count = passes.size();
  const Shape all{static_cast<int64_t>(count), x.shape()[0], passes[0].cell.hidden_size()};
  for (const Tensor* first : {&state.h, &state.c})
    check(count == 1 || !*first || first->shape() == all,
          "{}: the first state is {}, must be {} for x {}", what, *first ? first->shape() : all,
          all, x.shape());
  const auto of_passes = [&](const Tensor& first) {
    if (!first) return TensorList(count);
    return count == 1 ? TensorList{first} : unbind(first);
  };
  const TensorList first_h = of_passes(state.h), first_c = of_passes(state.c);
  passes[0].cell.check_inputs(what, x, {first_h[0], first_c[0]});
  const Tensor valid = lengths ? length_mask(lengths, x.shape()[1]) : Tensor();
  const Tensor turned_valid = valid && directions_ > 1 ? backward_in_time(valid) : Tensor();
  Tensor y = x;
  TensorList last_h, last_c;
  for (size_t pass = 0; pass < count;) {
    if (pass > 0 && training() && dropout_ > 0) y = dropout(y, dropout_);
    RecurrenceResult forward = run(pass, y, {first_h[pass], first_c[pass]}, valid);
    last_h.push_back(forward.state.h), last_c.push_back(forward.state.c);
    ++pass;
    if (directions_ > 1) {
      const RecurrenceResult backward =
          run(pass, backward_in_time(y), {first_h[pass], first_c[pass]}, turned_valid);
      last_h.push_back(backward.state.h), last_c.push_back(backward.state.c);
      forward.y = concat({forward.y, backward_in_time(backward.y)}, 2);
      ++pass;
    }
    y = std::move(forward.y);
  }
  const auto together = [&](TensorList& last) {
    if (!last[0]) return Tensor();
    return count == 1 ? std::move(last[0]) : stack(last);
  };
  return {std::move(y), together(last_h), together(last_c)};
}

template <class Cell>
void Recurrent<Cell>::visit(Visitor& visitor) {
  for (size_t pass = 0; pass < passes.size(); ++pass) {
    const auto directions = static_cast<size_t>(directions_);
    const std::string suffix =
        fmt::format("_l{}{}", pass / directions, pass % directions == 1 ? "_reverse" : "");
    Suffixed suffixed(visitor, suffix);
    passes[pass].cell.visit(suffixed);
    detail::visit_norms(visitor, passes[pass].norms, "norm_projected" + suffix);
  }
}

template <class Cell>
std::string Recurrent<Cell>::describe() const {
  const std::string cell = passes[0].cell.describe();
  std::string text = Cell::kSequenceName + cell.substr(cell.find('('));
  text.pop_back();
  if (const auto layers = passes.size() / static_cast<size_t>(directions_); layers > 1)
    text += fmt::format(", {} layers", layers);
  if (directions_ > 1) text += ", bidirectional";
  if (dropout_ > 0) text += fmt::format(", dropout {}", dropout_);
  if (const size_t norms = passes[0].norms.size(); norms > 0)
    text += norms == 1 ? ", norm over all steps" : ", projection's norm per step";
  return text + ")";
}

template class Recurrent<RnnCell>;
template class Recurrent<LstmCell>;
template class Recurrent<GruCell>;

}  // namespace gradus

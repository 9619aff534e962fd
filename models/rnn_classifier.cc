#include <gradus/autograd/ops/shape.h>
#include <gradus/models/rnn_classifier.h>

namespace gradus {

namespace {

RecurrentOptions<RnnCell> rnn_options(const RnnClassifierOptions& options) {
  RecurrentOptions<RnnCell> rnn{.cell = {.nonlinearity = options.nonlinearity}};
  if (options.norm.kind == Norm::none) return rnn;
  const RecurrentPlace place = options.place.value_or(recurrent_place(options.norm.kind));
  const auto norm = [choice = options.norm](int64_t n) { return feature_norm(choice, n); };
  if (place == RecurrentPlace::projection) rnn.norm = norm, rnn.norm_steps = options.norm_steps;
  if (place == RecurrentPlace::cell) rnn.cell.norm = norm, rnn.cell.norm_steps = options.norm_steps;
  return rnn;
}

}  // namespace

RnnClassifier::RnnClassifier(int64_t features, int64_t classes, RnnClassifierOptions options)
    : rnn_(features, options.hidden, rnn_options(options)), head_(options.hidden, classes) {}

Tensor RnnClassifier::forward(const Tensor& x, const Tensor& lengths) {
  const ForwardScope scope(*this);
  const Tensor steps = x.ndim() == 4 ? flatten(transpose(x, 1, 2), 2) : x;
  return head_(rnn_.forward(steps, lengths).h);
}

void RnnClassifier::visit(Visitor& visitor) {
  visitor.module("rnn", rnn_);
  visitor.module("head", head_);
}

std::string RnnClassifier::describe() const { return "RnnClassifier"; }

}  // namespace gradus

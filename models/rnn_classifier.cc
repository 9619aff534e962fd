#include <gradus/autograd/ops/shape.h>
#include <gradus/models/rnn_classifier.h>

namespace gradus {

RnnClassifier::RnnClassifier(int64_t features, int64_t classes, RnnClassifierOptions options)
    : rnn_(features, options.hidden,
           {.cell = {.nonlinearity = options.nonlinearity,
                     .layer_norm = options.norm == Norm::layer},
            .batch_norm = options.norm == Norm::batch,
            .batch_norm_steps = options.batch_norm_steps}),
      head_(options.hidden, classes) {
  finish_construction();
}

Tensor RnnClassifier::forward(const Tensor& x, const Tensor& lengths) {
  const ErrorContext where(name());
  const Tensor steps = x.ndim() == 4 ? flatten(transpose(x, 1, 2), 2) : x;
  return head_(rnn_.forward(steps, lengths).h);
}

void RnnClassifier::visit(Visitor& visitor) {
  visitor.module("rnn", rnn_);
  visitor.module("head", head_);
}

std::string RnnClassifier::describe() const { return "RnnClassifier"; }

}  // namespace gradus

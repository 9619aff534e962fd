#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/models/rnn_classifier.h>

namespace gradus {

static ModuleSamples rnn_classifier_row("RnnClassifier", [] {
  const Tensor lengths = raw::cast(Tensor::of({3, 2, 1}), DType::i64);
  std::vector<ModuleSample> samples;
  for (Norm norm : all_norms())
    samples.push_back(module_sample(name(norm), RnnClassifier(2, 3, {.hidden = 3, .norm = norm}),
                                    {sample({3, 3, 2}, 1)},
                                    [lengths](RnnClassifier& m, std::span<const Tensor> x) {
                                      return m.forward(x[0], lengths);
                                    }));
  return samples;
});

}  // namespace gradus

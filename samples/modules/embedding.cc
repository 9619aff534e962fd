#include <gradus/autograd/ops/index.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/embedding.h>

namespace gradus {

static ModuleSamples embedding_row("Embedding", [] {
  return std::vector{
      module_sample("indices twice and never", Embedding(5, 3),
                    raw::cast(Tensor::of({{0, 2, 2, 4}, {1, 0, 2, 4}}), DType::i64))};
});

}  // namespace gradus

#include <gradus/autograd/ops/shape.h>
#include <gradus/models/autoencoder.h>

namespace gradus {

Autoencoder::Autoencoder(int64_t features, AutoencoderOptions options)
    : encoder(features, options.code, {.hidden = options.hidden, .norm = options.norm}),
      decoder(options.code, features,
              {.hidden = {options.hidden.rbegin(), options.hidden.rend()}, .norm = options.norm}) {}

Tensor Autoencoder::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return reshape(decoder(encoder(x)), x.shape());
}

void Autoencoder::visit(Visitor& visitor) {
  visitor.module("encoder", encoder);
  visitor.module("decoder", decoder);
}

std::string Autoencoder::describe() const { return "Autoencoder"; }

}  // namespace gradus

#pragma once
#include <gradus/models/mlp.h>

namespace gradus {

/// What an Autoencoder is made of.
struct AutoencoderOptions {
  std::vector<int64_t> hidden = {128};  ///< units of the encoder's layers; the decoder's, reversed
  int64_t code = 16;                    ///< numbers an example is made into
  NormChoice norm = Norm::none;         ///< before each relu
};

/// Makes examples into a few numbers, and those into examples again (Hinton & Salakhutdinov 2006).
/// x: (N, ...) with `features` values each   y: like x
class Autoencoder : public UnaryModule {
 public:
  /// For so many values an example.
  explicit Autoencoder(int64_t features, AutoencoderOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Mlp encoder;  ///< (N, ...) to (N, code)
  Mlp decoder;  ///< (N, code) to (N, features)
};

}  // namespace gradus

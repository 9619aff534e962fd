// A variational autoencoder (Kingma & Welling 2014) of the digits: an encoder gives the mean and
// the log variance of a code, a decoder draws the digit of a code; the loss is what the digit costs
// in nats, and how far codes are from a standard normal distribution.
#include <gradus/gradus.h>

using namespace gradus;

constexpr int64_t kCode = 8;

class Vae : public Module {
 public:
  /// What the encoder says of a batch: (N, kCode) each.
  struct Code {
    Tensor mean, log_variance;
  };
  Code encode(const Tensor& x) {
    const Tensor both = encoder(flatten(x, 1));
    return {slice(both, 1, 0, kCode), slice(both, 1, kCode, 2 * kCode)};
  }
  /// Logits of the pixels, (N, 64).
  Tensor decode(const Tensor& code) { return decoder(code); }
  void visit(Visitor& visitor) override {
    visitor.module("encoder", encoder);
    visitor.module("decoder", decoder);
  }
  std::string describe() const override { return "Vae"; }

  Sequential encoder{Linear(64, 64), Relu(), Linear(64, 2 * kCode)};
  Sequential decoder{Linear(kCode, 64), Relu(), Linear(64, 64)};
};

/// The negative evidence lower bound, of each digit: appendix B of the paper.
static Tensor loss_of(Vae& vae, const Tensor& x, Generator& generator) {
  const auto [mean, log_variance] = vae.encode(x);
  const Tensor noise = randn(mean.shape(), generator);
  const Tensor code = mean + exp(0.5 * log_variance) * noise;  // the reparameterization trick
  const double n = static_cast<double>(x.size(0));
  const Tensor pixels = binary_cross_entropy_with_logits(vae.decode(code), flatten(x, 1),
                                                         {.reduction = Reduction::sum});
  const Tensor distance =
      -0.5 * sum(1.0 + log_variance - square(mean) - exp(log_variance));  // KL divergence
  return (pixels + distance) / n;
}

/// Rows of 8x8 images side by side, (N, 64) in [0, 1], as text.
static void draw(const Tensor& images) {
  constexpr const char* kInk = " .:-=+*#%@";
  for (int64_t row = 0; row < 8; ++row) {
    for (int64_t i = 0; i < images.size(0); ++i) {
      for (int64_t column = 0; column < 8; ++column)
        fmt::print("{}", kInk[static_cast<int>(9.99 * images.at({i, 8 * row + column}))]);
      fmt::print("  ");
    }
    fmt::print("\n");
  }
}

int main() {
  const Split data = train_test_split(digits(), 0.2, 1);
  Vae vae;
  vae.initialize(1);
  Generator generator(2);
  Adam optimizer(vae.parameters(), {.lr = 3e-3});
  const DataLoader loader(data.train, {.batch_size = 64});
  const double before = loss_of(vae, data.test.x, generator).item();
  for (uint64_t epoch = 0; epoch < 80; ++epoch)
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor loss = loss_of(vae, batch.x, generator);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
    }
  const double after = loss_of(vae, data.test.x, generator).item();

  const Tensor some = slice(data.test.x, 0, 0, 8);
  fmt::print("digits of the test set\n");
  draw(flatten(some, 1));
  fmt::print("what a code of {} numbers tells of them\n", kCode);
  draw(sigmoid(vae.decode(vae.encode(some).mean)));
  fmt::print("digits of random codes, which nobody has written\n");
  draw(sigmoid(vae.decode(randn({8, kCode}, generator))));
  fmt::print("nats a digit of the test set: {:.1f} before, {:.1f} after training\n", before, after);
  return after < 26 ? 0 : 1;
}

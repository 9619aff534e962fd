#include <gradus/data/augment.h>

#include <algorithm>

namespace gradus {

Tensor random_shift(const Tensor& images, int64_t most, double probability, double fill,
                    Generator& generator) {
  check(images.ndim() == 4 && images.dtype() == DType::f32,
        "random_shift: images must be (N, C, H, W) f32, are {} {}", images.shape(),
        name(images.dtype()));
  check(most >= 0 && probability >= 0 && probability <= 1,
        "random_shift: up to {} pixels with probability {}; needs 0 or more, and 0 to 1", most,
        probability);
  const int64_t h = images.size(2), w = images.size(3), planes = images.size(1);
  const Tensor from = raw::contiguous(images);
  Tensor to = full(images.shape(), fill);
  const float* in = from.data<float>();
  float* out = to.mutable_data<float>();
  const auto draw = [&, range = static_cast<uint64_t>(most)] {
    return static_cast<int64_t>(generator.below(2 * range + 1) - range);
  };
  for (int64_t n = 0; n < images.size(0) && images.numel() > 0; ++n) {
    const int64_t drawn_down = draw(), drawn_right = draw();
    const bool moved = generator.uniform() < probability;
    const int64_t down = moved ? std::clamp(drawn_down, -h, h) : 0,
                  right = moved ? std::clamp(drawn_right, -w, w) : 0;
    const int64_t width = w - std::abs(right), first = std::max<int64_t>(0, -right);
    for (int64_t plane = 0; plane < planes; ++plane, in += h * w, out += h * w) {
      for (int64_t i = std::max<int64_t>(0, down); i < std::min(h, h + down) && width > 0; ++i)
        std::copy_n(in + (i - down) * w + first, width, out + i * w + first + right);
    }
  }
  return to;
}

}  // namespace gradus

#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/layers/activation.h>
#include <gradus/models/cnn.h>

namespace gradus {

namespace {

int64_t strided(int64_t size, int64_t stride) {
  check(size > 0 && stride > 0, "Cnn: {} pixels along an axis with a stride of {}", size, stride);
  return (size - 1) / stride + 1;
}

AnyModule shortcut(int64_t in, int64_t out, int64_t stride) {
  if (in == out && stride == 1) return Identity();
  return Conv2d(in, out, 1, {.stride = stride, .kaiming = true});
}

const std::vector<int64_t>& checked(const std::vector<int64_t>& channels) {
  check(!channels.empty(), "Cnn: no stages");
  return channels;
}

}  // namespace

ResidualBlock::ResidualBlock(int64_t in_channels, int64_t out_channels, int64_t stride,
                             int64_t height, int64_t width, const NormChoice& norm)
    : conv1_(in_channels, out_channels, 3, {.stride = stride, .padding = 1, .kaiming = true}),
      conv2_(out_channels, out_channels, 3, {.padding = 1, .kaiming = true}),
      norm1_(image_norm(norm, out_channels, strided(height, stride), strided(width, stride),
                        Activation::relu)),
      norm2_(image_norm(norm, out_channels, strided(height, stride), strided(width, stride))),
      shortcut_(shortcut(in_channels, out_channels, stride)) {}

Tensor ResidualBlock::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  const Tensor h = norm1_(conv1_(x));
  return relu(shortcut_(x) + norm2_(conv2_(h)));
}

void ResidualBlock::visit(Visitor& visitor) {
  visitor.module("conv1", conv1_);
  visitor.module("norm1", *norm1_);
  visitor.module("conv2", conv2_);
  visitor.module("norm2", *norm2_);
  visitor.module("shortcut", *shortcut_);
}

std::string ResidualBlock::describe() const { return "ResidualBlock"; }

Cnn::Cnn(int64_t channels, int64_t height, int64_t width, int64_t classes, CnnOptions options)
    : stem_(channels, checked(options.channels).front(), 3, {.padding = 1, .kaiming = true}),
      stem_norm_(
          image_norm(options.norm, options.channels.front(), height, width, Activation::relu)),
      head_(options.channels.back(), classes) {
  int64_t in = options.channels.front();
  for (size_t i = 0; i < options.channels.size(); ++i) {
    const int64_t stride = i == 0 ? 1 : 2;
    blocks_.emplace_back(in, options.channels[i], stride, height, width, options.norm);
    in = options.channels[i];
    height = strided(height, stride);
    width = strided(width, stride);
  }
}

Tensor Cnn::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  check(x.ndim() == 4, "Cnn: x must be (N, C, H, W), is {}", x.shape());
  Tensor h = stem_norm_(stem_(x));
  for (ResidualBlock& block : blocks_) h = block(h);
  return head_(mean(h, {2, 3}));
}

void Cnn::visit(Visitor& visitor) {
  visitor.module("stem", stem_);
  visitor.module("stem_norm", *stem_norm_);
  visitor.modules("blocks", blocks_);
  visitor.module("head", head_);
}

std::string Cnn::describe() const { return "Cnn"; }

}  // namespace gradus

#include <gradus/layers/conv_module.h>

#include <algorithm>

namespace gradus {

ConvModule::ConvModule(const char* kind, const Sizes& sizes, bool transposed, bool kaiming) {
  const auto& [in, out, groups, kernel, has_bias] = sizes;
  check(in > 0 && out > 0 &&
            std::all_of(kernel.begin(), kernel.end(), [](int64_t k) { return k > 0; }),
        "{}: {} to {} channels with a kernel of {}", kind, in, out, kernel);
  check(groups > 0 && in % groups == 0 && out % groups == 0,
        "{}: {} to {} channels do not divide into {} groups", kind, in, out, groups);
  Shape shape{transposed ? in : out, (transposed ? out : in) / groups};
  for (const int64_t k : kernel) shape.push_back(k);
  const int64_t fan_in = shape.numel() / shape[0];
  const Init init = Init::fan_in_uniform(fan_in);
  weight = Parameter(shape, kaiming ? Init::kaiming_uniform(fan_in) : init);
  if (has_bias) bias = Parameter({out}, init);
}

void ConvModule::visit(Visitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias);
}

std::string ConvModule::listing(const char* kind, int64_t in, int64_t out, Pair stride,
                                Padding padding) const {
  const int64_t last = weight.size(-1);
  return fmt::format("{}({}, {}, kernel {}, stride {}, padding {}{})", kind, in, out,
                     str(Pair(weight.ndim() == 4 ? weight.size(2) : last, last)), str(stride),
                     str(padding), bias ? "" : ", no bias");
}

}  // namespace gradus

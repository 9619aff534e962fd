#include <gradus/layers/upsample.h>

namespace gradus {

std::string Upsample::describe() const {
  const char* mode = options_.mode == Interpolation::nearest ? "nearest" : "bilinear";
  return options_.size ? fmt::format("Upsample(to {}, {})", str(*options_.size), mode)
                       : fmt::format("Upsample({}, {})", options_.scale.value_or(0), mode);
}

}  // namespace gradus

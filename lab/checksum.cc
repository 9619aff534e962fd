#include "lab/checksum.h"

#include <fmt/format.h>

#include <string>

namespace gradus::lab {

uint32_t fnv1a(std::string_view text) {
  uint32_t hash = 2166136261U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash;
}

uint32_t checksum(const Split& data) {
  std::string text;
  for (const Dataset* part : {&data.train, &data.test})
    for (const auto& [name, x] : part->tensors()) {
      const Tensor values = raw::contiguous(x);
      const auto bytes = static_cast<size_t>(x.numel()) * size_of(x.dtype());
      text +=
          fmt::format("{} {} {} {};", name, x.shape(), x.dtype(), fnv1a({values.bytes(), bytes}));
    }
  return fnv1a(text);
}

}  // namespace gradus::lab

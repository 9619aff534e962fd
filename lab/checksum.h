#pragma once
#include <gradus/data/dataset.h>

#include <cstdint>
#include <string_view>

namespace gradus::lab {

/// FNV-1a: tells texts apart.
uint32_t fnv1a(std::string_view text);
/// The same of data: shapes and elements of all tensors.
uint32_t checksum(const Split& data);

}  // namespace gradus::lab

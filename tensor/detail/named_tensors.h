#pragma once
#include <gradus/tensor/tensor_file.h>

#include <string>
#include <string_view>
#include <vector>

namespace gradus::detail {

/// What has this name in a safetensors file is no tensor.
constexpr std::string_view kMetadata = "__metadata__";

/// An error of `where` unless a tensor may have this name in a file: one of UTF-8, and not the one
/// that means something else there.
void check_name_in_file(std::string_view where, std::string_view name);

/// A tensor that is to be loaded.
struct Loaded {
  std::string name;
  Tensor tensor, value;  // of its shape and dtype
};
/// An error of `where`, naming two, if what is one tensor, or a part of one, is given several
/// values: loading would keep one of them.
void check_one_value(std::string_view where, const std::vector<Loaded>& all);

}  // namespace gradus::detail

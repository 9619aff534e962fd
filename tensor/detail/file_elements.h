#pragma once
#include <gradus/tensor/tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace gradus::detail {

/// A type of elements that files hold, and what it becomes here: f32 holds all that the smaller
/// floating types do, i64 all integers but those of u64 beyond its range.
struct FileElement {
  std::string_view safetensors;  ///< its name there
  std::string_view npy;          ///< its letter and size there
  size_t bytes;
  DType dtype;
  /// The values of `count` little-endian elements; what is wrong with one, or nothing.
  std::string (*convert)(const char* from, size_t count, char* to);
};

/// What a dtype is saved as.
const FileElement& file_element(DType dtype);
/// The element of that name in safetensors, or of that code ("f4") in npy; null if there is none.
const FileElement* find_safetensors_element(std::string_view name);
const FileElement* find_npy_element(std::string_view code);
/// The names in safetensors, for messages.
std::string safetensors_elements();

/// Gives the next bytes, as many as asked for unless the end comes before; how many they are.
using ByteSource = std::function<size_t(char* to, size_t count)>;

/// Reads all elements of x, whose dtype is the element's, in row-major order; `swapped` if they are
/// big-endian. Too few, and what is no value of the type, are errors that begin with `what`.
void read_elements(std::string_view what, const ByteSource& source, const FileElement& element,
                   bool swapped, Tensor& x);

}  // namespace gradus::detail

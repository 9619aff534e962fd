#include <gradus/tensor/detail/file_elements.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace gradus::detail {

namespace {

constexpr size_t kPiece = size_t{1} << 16;

/// IEEE 754's binary16: a sign, 5 bits of exponent, 10 of fraction.
struct Half {
  uint16_t bits;
  explicit operator float() const {
    const uint32_t sign = (bits & 0x8000U) << 16, exponent = bits >> 10 & 0x1F,
                   fraction = bits & 0x3FFU;
    if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000U | fraction << 13);
    if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
    const float small = static_cast<float>(fraction) * 0x1p-24F;
    return sign ? -small : small;
  }
};

/// The first half of an f32.
struct Bfloat16 {
  uint16_t bits;
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

template <class From, class To>
std::string convert(const char* from, size_t count, char* to) {
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from + i * sizeof(From), sizeof(From));
    if constexpr (std::is_same_v<From, uint64_t>)
      if (value > uint64_t{std::numeric_limits<int64_t>::max()})
        return fmt::format("has a number {}, which i64 cannot hold", value);
    // Of 8 bits it is a number, too. NOLINTNEXTLINE(bugprone-signed-char-misuse)
    const To result = static_cast<To>(value);
    std::memcpy(to + i * sizeof(To), &result, sizeof(To));
  }
  return {};
}

std::string check_flags(const char* from, size_t count, char* to) {
  for (size_t i = 0; i < count; ++i)
    if (const auto byte = static_cast<unsigned char>(from[i]); byte > 1)
      return fmt::format("has a byte {}, which is neither 0 nor 1", int{byte});
  std::memcpy(to, from, count);
  return {};
}

template <class From, class To>
constexpr FileElement row(std::string_view safetensors, std::string_view npy) {
  return {safetensors, npy, sizeof(From), dtype_of<To>, convert<From, To>};
}

constexpr std::string_view name_of(DType dtype) {
  return with_row(dtype, [](const auto& r) { return r.file_name; });
}

// First what dtypes are saved as, in DType's order.
constexpr FileElement kElements[] = {
    row<float, float>(name_of(DType::f32), "f4"),
    row<double, double>(name_of(DType::f64), "f8"),
    row<int64_t, int64_t>(name_of(DType::i64), "i8"),
    {name_of(DType::boolean), "b1", 1, DType::boolean, check_flags},
    row<Half, float>("F16", "f2"),
    row<Bfloat16, float>("BF16", ""),
    row<int8_t, int64_t>("I8", "i1"),
    row<uint8_t, int64_t>("U8", "u1"),
    row<int16_t, int64_t>("I16", "i2"),
    row<uint16_t, int64_t>("U16", "u2"),
    row<int32_t, int64_t>("I32", "i4"),
    row<uint32_t, int64_t>("U32", "u4"),
    row<uint64_t, int64_t>("U64", "u8"),
};

}  // namespace

const FileElement& file_element(DType dtype) { return kElements[static_cast<size_t>(dtype)]; }

const FileElement* find_safetensors_element(std::string_view name) {
  const auto* const found = std::ranges::find(kElements, name, &FileElement::safetensors);
  return found == std::end(kElements) ? nullptr : found;
}

const FileElement* find_npy_element(std::string_view code) {
  if (code.empty()) return nullptr;
  const auto* const found = std::ranges::find(kElements, code, &FileElement::npy);
  return found == std::end(kElements) ? nullptr : found;
}

std::string safetensors_elements() {
  std::string names;
  for (const FileElement& element : kElements) {
    if (!names.empty()) names += &element == std::end(kElements) - 1 ? " and " : ", ";
    names += element.safetensors;
  }
  return names;
}

void read_elements(std::string_view what, const ByteSource& source, const FileElement& element,
                   bool swapped, Tensor& x) {
  char* to = x.mutable_bytes();
  const size_t step = size_of(x.dtype());
  alignas(8) char piece[kPiece];
  for (auto left = static_cast<size_t>(x.numel()); left > 0;) {
    const size_t count = std::min(left, kPiece / element.bytes), bytes = count * element.bytes;
    check(source(piece, bytes) == bytes, "{} cannot be read whole", what);
    if (swapped && element.bytes > 1)
      for (size_t i = 0; i < bytes; i += element.bytes)
        std::reverse(piece + i, piece + i + element.bytes);
    const std::string wrong = element.convert(piece, count, to);
    if (!wrong.empty()) fail("{} {} {} {}", what, x.shape(), element.safetensors, wrong);
    to += count * step;
    left -= count;
  }
}

}  // namespace gradus::detail

#include <gradus/base/detail/json.h>

#include <cstdint>
#include <iterator>

namespace gradus::detail {

namespace {

/// How many bytes the character at the beginning has; 0 if it is none (Unicode 15, table 3-7).
size_t character_size(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0u; };
  const uint32_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  for (size_t i = 1; i < size; ++i)
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool surrogate = first == 0xed && byte(1) > 0x9f, beyond = first == 0xf4 && byte(1) > 0x8f;
  return overlong || surrogate || beyond ? 0 : size;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t size = character_size(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

std::string json(std::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) {
    const size_t size = character_size(text);
    const char c = text[0];
    if (size == 0)
      quoted += "\xef\xbf\xbd";
    else if (c == '"' || c == '\\')
      quoted += {'\\', c};
    else if (static_cast<uint8_t>(c) < 0x20)
      fmt::format_to(std::back_inserter(quoted), "\\u{:04x}", static_cast<uint8_t>(c));
    else
      quoted += text.substr(0, size);
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return quoted + '"';
}

}  // namespace gradus::detail

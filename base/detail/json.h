#pragma once
// JSON as text, written in order: what fails for want of memory throws, and leaves nothing behind.

#include <fmt/format.h>

#include <cmath>
#include <concepts>
#include <string>
#include <string_view>

namespace gradus::detail {

/// Whether the bytes are UTF-8, as JSON's are.
bool is_utf8(std::string_view text);

/// The text in quotes; what is not UTF-8 in it becomes U+FFFD.
std::string json(std::string_view text);
inline std::string json(const char* text) { return json(std::string_view(text)); }
inline std::string json(const std::string& text) { return json(std::string_view(text)); }

/// A number, null if it is not finite; true or false.
template <class T>
requires std::integral<T> || std::floating_point<T> std::string json(T value) {
  if constexpr (std::floating_point<T>)
    if (!std::isfinite(value)) return "null";
  return fmt::format("{}", value);
}

/// The elements of a range.
template <class Range>
concept Elements = requires(const Range& range) {
  range.begin() != range.end();
};
template <Elements Range>
std::string json(const Range& range);

/// Members or elements between brackets: JsonList('{').add(json("a"), json(1)).text()
class JsonList {
 public:
  explicit JsonList(char open) : text_(1, open) {}
  JsonList& add(std::string_view value) {
    if (text_.size() > 1) text_ += ", ";
    text_ += value;
    return *this;
  }
  /// A member; the value is anything that json() takes.
  template <class T>
  JsonList& add(std::string_view name, const T& value) {
    return add(json(name) + ": " + json(value));
  }
  std::string text() const { return text_ + (text_[0] == '{' ? '}' : ']'); }

 private:
  std::string text_;
};
inline std::string json(const JsonList& list) { return list.text(); }

template <Elements Range>
std::string json(const Range& range) {
  JsonList list('[');
  for (const auto& value : range) list.add(json(value));
  return list.text();
}

}  // namespace gradus::detail

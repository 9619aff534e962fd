#pragma once
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace gradus {

/// How fmt prints what has a text: filled and aligned ("{:>12}") as a string is. A formatter of
/// ours inherits it, and is written in its header: no function of the library has a type of fmt's
/// in its signature, so that a program's fmt may be another than the library's.
class TextFormatter {
 public:
  /// What stands behind the colon, which fmt checks when it compiles.
  constexpr auto parse(fmt::format_parse_context& context) -> fmt::format_parse_context::iterator {
    const auto begin = context.begin();
    const auto end = fmt::formatter<fmt::string_view>().parse(context);
    format_ = {begin, static_cast<size_t>(end - begin)};
    return end;
  }

 protected:
  /// Writes the text.
  fmt::format_context::iterator write(std::string_view text, fmt::format_context& context) const {
    const fmt::string_view view(text.data(), text.size());
    const std::string format = "{:" + std::string(format_.data(), format_.size()) + "}";
    return copy(fmt::vformat(format, fmt::make_format_args(view)), context);
  }
  /// Writes it as it is. (fmt's own ways to do so compile fmt anew wherever they are called.)
  static fmt::format_context::iterator copy(std::string_view text, fmt::format_context& context) {
    return std::copy(text.begin(), text.end(), context.out());
  }

 private:
  fmt::string_view format_;
};

}  // namespace gradus

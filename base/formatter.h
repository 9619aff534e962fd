#pragma once
#include <fmt/core.h>
#include <gradus/base/error.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace gradus {

/// How fmt prints what has a text: filled, aligned and cut ("{:>12}", "{:.3}", "{:{}}") as a string
/// is. A formatter of ours inherits it, and is written in its header: no function of the library
/// has a type of fmt's in its signature, so that a program's fmt may be another than the library's.
class TextFormatter {
 public:
  /// What stands behind the colon, which fmt checks when it compiles.
  constexpr auto parse(fmt::format_parse_context& context) -> fmt::format_parse_context::iterator {
    // fmt's own formatter sees a 1 for each argument in it: it would count those anew.
    char fixed[kLongest + 1] = {};
    size_t size = 0;
    const auto begin = context.begin();
    auto it = begin;
    for (bool was_argument = false; it != context.end() && *it != '}'; ++it) {
      const bool is_argument = *it == '{';
      if (size == kLongest || (was_argument && (is_argument || is_digit(*it))) ||
          (is_argument && size > 0 && is_digit(fixed[size - 1])))
        fail("a text's format is what fmt takes for a string");
      if (is_argument) it = parse_argument(context, it + 1);
      fixed[size++] = is_argument ? '1' : *it;
      was_argument = is_argument;
    }
    format_ = {begin, static_cast<size_t>(it - begin)};
    fixed[size] = '}';
    fmt::format_parse_context as_fixed(fmt::string_view(fixed, size + 1));
    if (*fmt::formatter<fmt::string_view>().parse(as_fixed) != '}')
      fail("a text's format is what fmt takes for a string");
    return it;
  }

 protected:
  /// Writes the text.
  fmt::format_context::iterator write(std::string_view text, fmt::format_context& context) const {
    const fmt::string_view view(text.data(), text.size());
    return copy(fmt::vformat("{:" + fixed_format(context) + "}", fmt::make_format_args(view)),
                context);
  }
  /// Writes it as it is. (fmt's own ways to do so compile fmt anew wherever they are called.)
  static fmt::format_context::iterator copy(std::string_view text, fmt::format_context& context) {
    return std::copy(text.begin(), text.end(), context.out());
  }

 private:
  static constexpr size_t kLongest = 63;
  static constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

  /// Of "{}", "{2}" or "{name}", from behind the first brace to the last.
  constexpr auto parse_argument(fmt::format_parse_context& context,
                                fmt::format_parse_context::iterator it)
      -> fmt::format_parse_context::iterator {
    const auto begin = it;
    int number = 0;
    bool digits = true;
    for (; it != context.end() && *it != '}'; ++it) {
      digits = digits && is_digit(*it) && number < 1000;
      if (digits) number = 10 * number + (*it - '0');
    }
    if (it == context.end() || counted_ == 2)
      fail("a text's format is what fmt takes for a string");
    if (it == begin)
      arguments_[counted_++] = context.next_arg_id();
    else if (digits)
      context.check_arg_id(number);
    else
      context.check_arg_id(fmt::string_view(begin, static_cast<size_t>(it - begin)));
    return it;
  }

  /// The format with its arguments' numbers in their places.
  std::string fixed_format(fmt::format_context& context) const {
    std::string fixed;
    int counted = 0;
    for (const char *it = format_.begin(), *const end = format_.end(); it != end; ++it) {
      if (*it != '{') {
        fixed += *it;
        continue;
      }
      const char* const close = std::find(it, end, '}');
      std::string argument(it + 1, close);
      if (argument.empty()) argument = std::to_string(arguments_[counted++]);
      const std::string number = fmt::vformat("{" + argument + "}", context.args());
      (check)(std::all_of(number.begin(), number.end(), is_digit),
              "a text's width or precision is {}, must be an integer that is not negative", number);
      fixed += number;
      it = close;
    }
    return fixed;
  }

  fmt::string_view format_;
  int arguments_[2] = {}, counted_ = 0;  // those that no number or name tells
};

}  // namespace gradus

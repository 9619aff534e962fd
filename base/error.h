#pragma once
#include <fmt/core.h>

#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace gradus {

namespace detail {
// With _GLIBCXX_DEBUG std::vector and others are different types: of a program and a library that
// do not agree, the linker says that this is undefined.
#ifdef _GLIBCXX_DEBUG
extern const bool library_built_with_GLIBCXX_DEBUG;
[[gnu::used]] static const bool* const same_containers = &library_built_with_GLIBCXX_DEBUG;
#else
extern const bool library_built_without_GLIBCXX_DEBUG;
[[gnu::used]] static const bool* const same_containers = &library_built_without_GLIBCXX_DEBUG;
#endif
}  // namespace detail

/// What a user did wrong: the op, every shape and dtype involved, the likely cause.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class ErrorContext;
namespace detail {
/// The innermost on this thread.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local ErrorContext* error_context;
}  // namespace detail

/// While one lives, errors thrown on this thread begin with its name: "in encoder.1.attn: ...".
class ErrorContext {
 public:
  /// `name` must outlive it.
  explicit ErrorContext(std::string_view name)
      : name_(name), outer_(std::exchange(detail::error_context, this)) {}
  template <std::same_as<std::string> Temporary>
  // NOLINTNEXTLINE(bugprone-forwarding-reference-overload)
  explicit ErrorContext(Temporary&& name) = delete;
  ~ErrorContext() { detail::error_context = outer_; }
  ErrorContext(const ErrorContext&) = delete;
  ErrorContext& operator=(const ErrorContext&) = delete;

 private:
  friend std::string error_path();
  std::string_view name_;
  ErrorContext* outer_;
};

/// Throws Error with the message, which begins with the names of this thread's contexts.
[[noreturn]] void throw_error(std::string_view message);

namespace detail {
/// Here, and not in the library, none of whose functions has a type of fmt's in its signature: a
/// program's fmt may be another than the library's.
[[noreturn, gnu::cold, gnu::noinline]] inline void throw_formatted(fmt::string_view format,
                                                                   fmt::format_args args) {
  throw_error(fmt::vformat(format, args));
}
}  // namespace detail

/// Throws Error with the formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  detail::throw_formatted(format, fmt::make_format_args(args...));
}

/// The same unless `condition` holds. The arguments are evaluated in any case: where that costs,
/// `if (...) fail(...)`. In parentheses, as in `(check)(...)`, no macro of that name is meant.
template <class... Args>
void(check)(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (condition) [[likely]]
    return;
  detail::throw_formatted(format, fmt::make_format_args(args...));
}

}  // namespace gradus

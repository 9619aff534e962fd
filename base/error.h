#pragma once
#include <fmt/core.h>

#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace gradus {

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

/// Throws Error with the formatted message, which begins with the names of this thread's contexts.
[[noreturn]] void throw_error(fmt::string_view format, fmt::format_args args);

/// Throws Error with the formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw_error(format, fmt::make_format_args(args...));
}

/// The same unless `condition` holds. The arguments are evaluated in any case: where that costs,
/// `if (...) fail(...)`.
template <class... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (condition) [[likely]]
    return;
  throw_error(format, fmt::make_format_args(args...));
}

}  // namespace gradus

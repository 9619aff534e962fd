#include <gradus/base/error.h>

namespace gradus {

namespace detail {
[[gnu::tls_model("initial-exec")]] constinit thread_local ErrorContext* error_context = nullptr;
}

std::string error_path() {
  std::string path;
  for (const ErrorContext* context = detail::error_context; context; context = context->outer_) {
    if (context->name_.empty()) continue;  // a model at the top has no name
    path = path.empty() ? std::string(context->name_) : std::string(context->name_) + "." + path;
  }
  return path;
}

void throw_error(fmt::string_view format, fmt::format_args args) {
  const std::string message = fmt::vformat(format, args);
  const std::string path = error_path();
  throw Error(path.empty() ? message : "in " + path + ": " + message);
}

}  // namespace gradus

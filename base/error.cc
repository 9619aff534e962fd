#include <gradus/base/detail/error_path.h>
#include <gradus/base/error.h>

namespace gradus {

namespace detail {
[[gnu::tls_model("initial-exec")]] constinit thread_local ErrorContext* error_context = nullptr;

#ifdef _GLIBCXX_DEBUG
const bool library_built_with_GLIBCXX_DEBUG = true;
#else
const bool library_built_without_GLIBCXX_DEBUG = true;
#endif
}  // namespace detail

std::string error_path() {
  std::string path;
  for (const ErrorContext* context = detail::error_context; context; context = context->outer_) {
    if (context->name_.empty()) continue;  // a model at the top has no name
    path = path.empty() ? std::string(context->name_) : std::string(context->name_) + "." + path;
  }
  return path;
}

std::string in_context(std::string_view message) {
  const std::string path = error_path(), text(message);
  return path.empty() ? text : "in " + path + ": " + text;
}

void throw_error(std::string_view message) { throw Error(in_context(message)); }

}  // namespace gradus

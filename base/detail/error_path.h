#pragma once
#include <string>
#include <string_view>

namespace gradus {

/// The message, after the names of this thread's ErrorContexts: what an Error says.
std::string in_context(std::string_view message);

}  // namespace gradus

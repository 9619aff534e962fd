#pragma once
#include <functional>
#include <iosfwd>
#include <string>

namespace gradus {

/// The file gets what `write` writes, whole, or an Error leaves it as it was.
void write_file(const std::string& path, const std::function<void(std::ostream&)>& write);

}  // namespace gradus

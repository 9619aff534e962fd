#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace gradus::lab {

/// JSON in lines, or in one where `indent` is -1; bytes of a path that are no UTF-8 become U+FFFD.
template <class Json>
std::string json_text(const Json& json, int indent = 2) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace gradus::lab

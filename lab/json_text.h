#pragma once
#include <gradus/base/file.h>

#include <nlohmann/json.hpp>
#include <string>

namespace gradus::lab {

/// JSON in lines, or in one where `indent` is -1; bytes of a path that are no UTF-8 become U+FFFD.
template <class Json>
std::string json_text(const Json& json, int indent = 2) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// What a file holds; discarded if it is no JSON, or none of ours: what prints or copies a value
/// calls itself for each bracket in another, of which a damaged file may have a million.
inline nlohmann::ordered_json json_of_file(const std::string& path) {
  constexpr int deepest = 8;
  bool too_deep = false;
  auto json = nlohmann::ordered_json::parse(
      read_file(path),
      [&](int depth, nlohmann::ordered_json::parse_event_t, nlohmann::ordered_json&) {
        too_deep |= depth > deepest;
        return depth <= deepest;
      },
      false);
  return too_deep ? nlohmann::ordered_json(nlohmann::ordered_json::value_t::discarded) : json;
}

}  // namespace gradus::lab

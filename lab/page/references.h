#pragma once
#include <string_view>
#include <vector>

namespace gradus::lab {

/// A paper that the page cites.
struct Reference {
  const char* key;  ///< as it is cited: "Wu & He 2018"
  const char *authors, *title, *venue;
  const char* address;  ///< where it can be read
};

/// By key.
const std::vector<Reference>& references();

/// Null where there is none of this key.
const Reference* find_reference(std::string_view key);

}  // namespace gradus::lab

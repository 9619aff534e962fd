#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace gradus::lab {

/// What a file of tensors holds, in its order: "tensors", each with its name, shape, dtype (that it
/// is loaded as), its norm, its largest magnitude, both of what is finite, and how many of its
/// numbers are NaN and infinite; and how many "numbers" they are in all.
nlohmann::ordered_json list_weights(const std::string& path);
/// The same as a table.
std::string weights_table(const nlohmann::ordered_json& weights);

/// What differs between two files: "tensors", for each name that is in one of them, "equal", or
/// "only in" one of the files, or both "shapes" or "dtypes", or the norm of the difference, also
/// relative to the norm in the first, the largest difference, and how many numbers "differ"; and
/// whether all is "equal". NaN is equal to NaN.
nlohmann::ordered_json compare_weights(const std::string& path, const std::string& other);
/// The same as a table.
std::string comparison_table(const nlohmann::ordered_json& comparison);

}  // namespace gradus::lab

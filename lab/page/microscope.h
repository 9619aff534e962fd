#pragma once
#include <nlohmann/json_fwd.hpp>

namespace gradus::lab {

/// What the page's microscope shows and is checked by: "views", small real batches (features (N,
/// D), images (N, C, H, W), sequences (N, T, D)) with the gradient dy that reaches the norm and
/// BatchNorm's running statistics; and of each the library's own "results" for every norm, mode and
/// number of samples: mean and biased variance of every set of values that share them, x^, and dx.
/// Weights are 1 and biases 0. f64.
nlohmann::ordered_json microscope_json();

}  // namespace gradus::lab

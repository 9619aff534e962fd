#pragma once

namespace gradus {

/// What a linear map or a norm applies to its result, max(y, 0) for relu, in the kernel that
/// computes y and in the same op; in the backward pass dy counts where the result is positive.
enum class Activation { none, relu };

}  // namespace gradus

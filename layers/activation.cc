#include <gradus/layers/activation.h>

namespace gradus {

namespace {}  // namespace

}  // namespace gradus

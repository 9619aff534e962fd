#include <gradus/layers/pool.h>

namespace gradus {

namespace {}  // namespace

}  // namespace gradus

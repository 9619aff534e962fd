#include <gradus/layers/pool.h>

namespace gradus {}  // namespace gradus

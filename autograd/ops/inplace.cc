#include <gradus/autograd/ops/inplace.h>

namespace gradus {

static void check_not_recorded(const char* op, const Tensor& x) {
  if (!needs_grad(x)) return;
  fail(
      "{}: {}{}{}, which is {}, would change under a recording tape; wrap this in NoRecord, or "
      "make a new tensor",
      op, x.name(), x.name().empty() ? "shape " : " ", x.shape(),
      x.requires_grad() ? "a leaf that requires a gradient" : "a result on that tape");
}

void fill_(Tensor& x, double value) {
  check_not_recorded("fill_", x);
  raw::fill(x, value, "fill_");
}

void copy_(Tensor& to, const Tensor& from) {
  check_not_recorded("copy_", to);
  check(!needs_grad(from),
        "copy_: the source, shape {}, carries a gradient that would be lost; wrap this in NoRecord",
        from.shape());
  check_same_dtype("copy_", from, to);
  check(from.shape() == to.shape(), "copy_: shape {} into {}", from.shape(), to.shape());
  raw::copy(from, to, "copy_");
}

}  // namespace gradus

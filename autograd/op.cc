#include <gradus/autograd/op.h>

#include <algorithm>

namespace gradus {

namespace {
constinit Op* first_op = nullptr;
}

Op::Op(const char* op_name, BackwardFunction op_backward)
    : name(op_name), backward(op_backward), next(first_op) {
  first_op = this;
}

std::vector<Op*> all_ops() {
  std::vector<Op*> ops;
  for (Op* op = first_op; op; op = op->next) ops.push_back(op);
  std::sort(ops.begin(), ops.end(),
            [](const Op* a, const Op* b) { return std::string_view(a->name) < b->name; });
  return ops;
}

Op* find_op(std::string_view name) {
  for (Op* op = first_op; op; op = op->next) {
    if (name == op->name) return op;
  }
  return nullptr;
}

}  // namespace gradus

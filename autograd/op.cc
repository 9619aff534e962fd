#include <gradus/autograd/op.h>
#include <gradus/base/detail/named.h>

namespace gradus {

namespace {
constinit Op* first_op = nullptr;
}

Op::Op(const char* op_name, BackwardFunction op_backward)
    : name(op_name), backward(op_backward), next(first_op) {
  first_op = this;
}

std::vector<Op*> all_ops() { return detail::sorted_rows(first_op); }

Op* find_op(std::string_view name) {
  for (Op* op = first_op; op; op = op->next) {
    if (name == op->name) return op;
  }
  return nullptr;
}

}  // namespace gradus

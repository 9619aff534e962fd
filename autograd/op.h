#pragma once
#include <gradus/tensor/tensor.h>

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gradus {

class Tape;

class Backward;

/// One row for each differentiable op, at namespace scope beside its forward function:
///
///   Op mul_op("mul", [](Backward& ctx) { ... });
///
/// Constructing it enters it in the list that tapes, the gradient checker and the tests read.
struct Op {
  using BackwardFunction = void (*)(Backward& ctx);  ///< gives the inputs their gradients
  /// `name` must outlive it.
  Op(const char* name, BackwardFunction backward);
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  const char* name;  ///< what listings and errors call it
  /// Gives each input that needs it its gradient, in recorded ops. Tests may swap in a wrong one.
  BackwardFunction backward;
  Op* next;  ///< in the list
};

/// Every op of the program, sorted by name.
std::vector<Op*> all_ops();
/// The op of that name; nullptr if there is none.
Op* find_op(std::string_view name);

/// What an op's backward sees: gradients dy of its outputs, what it kept, which inputs want a
/// gradient.
class Backward {
 public:
  /// The gradient with respect to an output; zeros if none arrived at that one.
  const Tensor& dy(int output = 0);
  /// Whether a gradient arrived at that output.
  bool has_dy(int output) const;
  /// Whether input i wants its gradient.
  bool needs(int input) const;
  /// The shape of input i.
  Shape input_shape(int input) const;
  /// What record() was given to keep, in its order. Changed in place since: an error.
  Tensor kept(int i) const;
  /// The attributes that record() was given, of the same type.
  template <class A>
  const A& attrs() const {
    return *static_cast<const A*>(attrs_);
  }
  /// Adds to the gradient with respect to input i, of the input's shape; ignored if not needed.
  void set(int input, Tensor gradient);
  /// The gradient with respect to input i so far, for a kernel that adds to it in place and gives
  /// the sum to set(); an empty Tensor where there is none, or one that others see.
  Tensor take_sum(int input);
  /// The tape that is being swept, on which a backward may sweep a part of its own.
  Tape& tape() { return tape_; }

 private:
  friend class Tape;
  Backward(Tape& tape, uint32_t node);
  uint32_t edge(int input) const;
  [[noreturn]] void fail_gradient(int input, const Tensor& gradient) const;
  Tape& tape_;
  uint32_t node_, first_edge_;
  const void* attrs_;
};

/// A list of references to tensors, for record()'s arguments; good for one full expression.
class TensorRefs {
 public:
  /// One of them.
  struct Ref {
    Ref(const Tensor& tensor) : pointer(&tensor) {}  ///< refers to it
    const Tensor* pointer;                           ///< the tensor
  };
  TensorRefs() = default;
  /// From `{a, b}` or several tensors that lie beside each other.
  TensorRefs(std::initializer_list<Ref> refs) : refs_(refs), size_(refs.size()) {}
  TensorRefs(std::span<const Tensor> tensors) : tensors_(tensors.data()), size_(tensors.size()) {}
  /// How many.
  size_t size() const { return size_; }
  /// Tensor i, 0 <= i < size().
  const Tensor& operator[](size_t i) const {
    return tensors_ ? tensors_[i] : *refs_.begin()[i].pointer;
  }

 private:
  std::initializer_list<Ref> refs_;
  const Tensor* tensors_ = nullptr;
  size_t size_ = 0;
};

}  // namespace gradus

#pragma once
#include <gradus/tensor/tensor.h>

namespace gradus {

/// A tensor that a Module owns. Copying it, as copying the Module does, copies the elements;
/// assigning a copy writes into the tensor that is there, so that handles to it (an optimizer's)
/// stay valid; moving takes the other's tensor. As a Tensor it is a handle: `Tensor w =
/// layer.weight` shares.
class OwnedTensor : public Tensor {
 public:
  OwnedTensor() = default;
  /// Owns `value` itself, not a copy.
  explicit OwnedTensor(Tensor value) : Tensor(std::move(value)) {}
  /// A copy of the elements.
  OwnedTensor(const OwnedTensor& other) : Tensor(copy_of(other)) {}
  OwnedTensor(OwnedTensor&&) noexcept = default;
  /// The elements become other's, in the tensor that is there.
  OwnedTensor& operator=(const OwnedTensor& other);
  OwnedTensor& operator=(OwnedTensor&&) noexcept = default;

 private:
  static Tensor copy_of(const Tensor& x);
};

/// What an optimizer changes; requires a gradient.
class Parameter : public OwnedTensor {
 public:
  Parameter() = default;
  /// Owns `value`, which becomes a leaf.
  explicit Parameter(Tensor value) : OwnedTensor(std::move(value)) { set_requires_grad(); }
  /// From here on one tensor with `other`, e.g. tied input and output embeddings. A copy of the
  /// module has two again, unless its copy constructor shares, too.
  void share(const Parameter& other) { static_cast<Tensor&>(*this) = other; }
};

/// State that is saved but not trained, e.g. running statistics.
class Buffer : public OwnedTensor {
 public:
  using OwnedTensor::OwnedTensor;
};

}  // namespace gradus

template <>
struct fmt::formatter<gradus::Parameter> : fmt::formatter<gradus::Tensor> {};
template <>
struct fmt::formatter<gradus::Buffer> : fmt::formatter<gradus::Tensor> {};

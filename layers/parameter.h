#pragma once
#include <gradus/layers/init.h>
#include <gradus/tensor/tensor.h>

namespace gradus {

/// A tensor that a Module owns. Copying it, as copying the Module does, copies the elements;
/// assigning a copy writes into the tensor that is there, so that handles to it (an optimizer's)
/// stay valid; moving takes the other's tensor, which is called what was there. As a Tensor it is a
/// handle: `Tensor w = layer.weight` shares.
class OwnedTensor : public Tensor {
 public:
  OwnedTensor() = default;
  /// Owns `value` itself, not a copy.
  explicit OwnedTensor(Tensor value) : Tensor(std::move(value)) {}
  /// A copy of the elements. While a Module is copied, what is one tensor in it is one in the copy.
  OwnedTensor(const OwnedTensor& other);
  OwnedTensor(OwnedTensor&&) noexcept = default;
  /// The elements become other's, in the tensor that is there.
  OwnedTensor& operator=(const OwnedTensor& other);
  /// Other's tensor, under the name of the one that was there.
  OwnedTensor& operator=(OwnedTensor&& other);  // NOLINT(performance-noexcept-move-constructor)
};

/// Not for a tensor that a module owns: a = a + b would leave the module, its optimizer and the
/// handle with different tensors. Say copy_(a, a + b) under NoRecord, or compute with `Tensor w =
/// a`.
template <class B>
Tensor& operator+=(OwnedTensor& a, const B& b) = delete;
template <class B>
Tensor& operator-=(OwnedTensor& a, const B& b) = delete;
template <class B>
Tensor& operator*=(OwnedTensor& a, const B& b) = delete;
template <class B>
Tensor& operator/=(OwnedTensor& a, const B& b) = delete;

/// What an optimizer changes; requires a gradient.
class Parameter : public OwnedTensor {
 public:
  Parameter() = default;
  /// A leaf of this shape, drawn at once by a generator that default_generator() seeds; constants
  /// take no number from it.
  Parameter(const Shape& shape, const Init& init, DType dtype = DType::f32);
  /// How it was drawn, and Module::initialize() draws it anew.
  const Init& init() const { return init_; }
  /// From here on one tensor with `other`, e.g. tied input and output embeddings. In a copy of the
  /// module that owns both they are one as well, apart from these.
  void share(const Parameter& other) {
    static_cast<Tensor&>(*this) = other;
    init_ = other.init_;
  }

 private:
  Init init_ = Init::zeros();
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

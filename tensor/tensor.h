#pragma once
#include <gradus/base/memory.h>
#include <gradus/tensor/dtype.h>
#include <gradus/tensor/ref_count.h>
#include <gradus/tensor/shape.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <iosfwd>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace gradus {

class Tensor;

/// Whether a tensor is a module's parameter, and whether somebody has it who would train or save
/// it: Module::parameters() and state() give it out, or an optimizer was given it. Tape::backward
/// asks.
enum class ParameterState : uint8_t { none, hidden, shown };

namespace detail {

/// Memory shared by a tensor and its views. The first tensor's body lies in the same block: one
/// request for both.
struct Storage {
  RefCount refs;
  uint32_t version;  // counts in-place changes
  size_t bytes;      // of the elements
};

/// What only a leaf that takes part in training has.
struct LeafState;

struct TensorBody {
  TensorBody(DType dtype_, const Shape& shape_, Storage* storage_, Storage* home_)
      : dtype(dtype_), shape(shape_), storage(storage_), home(home_) {}

  RefCount refs;
  DType dtype;
  bool contiguous;
  bool requires_grad = false;
  ParameterState parameter_state = ParameterState::none;
  uint32_t node = 0;
  uint64_t tape = 0;  // the serial of the tape that recorded it as `node`; 0: none
  int64_t numel;
  Shape shape;
  int64_t strides[Shape::kMaxDims];
  char* data;
  Storage* storage;
  Storage* home;  // whose block this body lies in; null: in one of its own, as a view's does
  LeafState* leaf = nullptr;
};

/// A handle less; with the last one the tensor ends.
void drop(TensorBody* body) noexcept;
[[noreturn]] void throw_empty_tensor();
/// Why there is no row-major memory of `asked` to give out.
[[noreturn]] void throw_no_data(const TensorBody& body, DType asked);

}  // namespace detail

/// A handle to an n-dimensional array: copying it shares the elements. An empty handle (`Tensor()`)
/// stands for "no tensor". Operations on tensors are free functions (gradus/autograd/ops), which
/// record themselves on the current tape. What would point into a tensor that ends with a temporary
/// handle is a copy of it, or does not compile: give the handle a name.
class Tensor {
 public:
  Tensor() = default;
  /// Another handle to the same tensor.
  Tensor(const Tensor& other) : body_(other.body_) {
    if (body_) body_->refs.add();
  }
  Tensor(Tensor&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
  Tensor& operator=(const Tensor& other) {
    Tensor(other).swap(*this);
    return *this;
  }
  Tensor& operator=(Tensor&& other) noexcept {
    Tensor taken(std::move(other));
    taken.swap(*this);
    return *this;
  }
  /// The tensor ends with its last handle.
  ~Tensor() {
    if (body_) detail::drop(body_);
  }
  /// Exchanges what the two handles stand for.
  void swap(Tensor& other) noexcept { std::swap(body_, other.body_); }

  /// The values, each of which dtype must hold, in a vector or, from rows of equal length, a
  /// matrix.
  static Tensor of(std::initializer_list<double> values, DType dtype = DType::f32);
  static Tensor of(std::initializer_list<std::initializer_list<double>> rows,
                   DType dtype = DType::f32);
  /// A copy of row-major values with T's dtype; as many as `shape` has elements. Integers of any
  /// type become i64; one that i64 cannot hold is an error.
  template <Element T>
  static Tensor from(std::span<const T> values, const Shape& shape) {
    return copy_of(values, shape);
  }
  template <Element T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return copy_of(values, shape);
  }

  /// Whether there is a tensor.
  explicit operator bool() const { return body_ != nullptr; }

  /// The type of its elements. An empty handle has none: an error, as for all that follows.
  DType dtype() const { return body().dtype; }
  /// The sizes of its dimensions.
  const Shape& shape() const& { return body().shape; }
  Shape shape() const&& { return body().shape; }
  /// How many dimensions it has; 0 for a scalar.
  int ndim() const { return body().shape.ndim(); }
  /// The size of one dimension; a negative axis counts from the end.
  int64_t size(int64_t axis) const { return shape()[normalize_axis("size", axis, ndim())]; }
  /// How many elements it has.
  int64_t numel() const { return body().numel; }
  /// How many elements apart neighbours along each axis lie.
  const int64_t* strides() const& { return body().strides; }
  const int64_t* strides() const&& = delete;
  /// Whether the elements lie in row-major order without gaps.
  bool is_contiguous() const { return body().contiguous; }

  /// The elements in row-major order; T must be the dtype's type (float, double, int64_t, bool). An
  /// error of a view whose elements lie otherwise: see raw::Contiguous.
  template <class T>
  const T* data() const& {
    return reinterpret_cast<const T*>(row_major(dtype_of<T>));
  }
  template <class T>
  const T* data() const&& = delete;
  /// The same for writing: tells every tape that kept this tensor or a view of it that it changed.
  template <class T>
  T* mutable_data() & {
    char* const elements = row_major(dtype_of<T>);
    ++body_->storage->version;
    return reinterpret_cast<T*>(elements);
  }
  /// The elements' bytes, whatever the dtype: for writing, as mutable_data(), and for reading.
  char* mutable_bytes() & {
    char* const elements = row_major(dtype());
    ++body_->storage->version;
    return elements;
  }
  const char* bytes() const& { return row_major(dtype()); }
  const char* bytes() const&& = delete;

  /// The first element of any view, for code that goes by strides().
  template <class T>
  const T* strided_data() const& {
    if (dtype() != dtype_of<T>) [[unlikely]]
      detail::throw_no_data(*body_, dtype_of<T>);
    return reinterpret_cast<const T*>(body_->data);
  }
  /// Its bytes, whatever the dtype.
  const char* strided_bytes() const& { return body().data; }
  /// The same for writing, after raw::check_writable().
  char* mutable_strided_bytes() & {
    ++body().storage->version;
    return body_->data;
  }

  /// The only element as a number; an error if there are more, or if a double does not hold it.
  double item() const;
  /// One element as a number.
  double at(std::initializer_list<int64_t> index) const;
  /// The elements in row-major order, converted to T. A number that an integer T cannot hold is an
  /// error.
  template <Element T>
  std::vector<T> to_vector() const;

  /// Whether tapes follow this tensor as a leaf; only f32 and f64 can.
  bool requires_grad() const { return body().requires_grad; }
  /// Makes it a leaf, or none. An error of dtypes that carry no gradient.
  Tensor& set_requires_grad(bool requires_grad = true) &;
  Tensor set_requires_grad(bool requires_grad = true) && {
    return std::move(set_requires_grad(requires_grad));
  }
  /// What backward() has added up for this leaf; empty before.
  const Tensor& grad() const&;
  Tensor grad() const&& { return grad(); }
  /// `grad`, of this tensor's shape and dtype, or empty, takes the gradient's place.
  void set_grad(Tensor grad);
  /// A name for listings and messages, e.g. "encoder.0.weight".
  const std::string& name() const&;
  std::string name() const&& { return name(); }
  /// Gives it a name.
  Tensor& set_name(std::string name) &;
  Tensor set_name(std::string name) && { return std::move(set_name(std::move(name))); }

  /// See ParameterState. For Module, Optimizer and Tape.
  ParameterState parameter_state() const { return body().parameter_state; }
  void set_parameter_state(ParameterState state) {
    body();
    body_->parameter_state = state;
  }

  /// Takes over another tensor's elements, dtype and shape in place: every handle to this tensor
  /// sees them. The gradient is dropped, and no tape knows it as a result any more. Counts as a
  /// change of both.
  void set_data(const Tensor& other);

  /// Whether both are handles to one tensor.
  bool is(const Tensor& other) const { return body_ == other.body_; }
  /// Whether no other handle and no view shares the elements.
  bool is_unshared() const { return body().refs.is_one() && body_->storage->refs.is_one(); }
  /// Whether both read the same memory block.
  bool shares_storage(const Tensor& other) const { return body().storage == other.body().storage; }
  /// Identifies the memory block that views share.
  const void* storage_id() const { return body().storage; }
  /// Another number after each change in place and set_data.
  uint32_t version() const { return body().storage->version; }
  /// Bytes of the elements in that memory block.
  size_t storage_bytes() const { return body().storage->bytes; }

  /// Where a tape recorded this tensor: the tape's serial (0: nowhere) and the node. For Tape.
  uint64_t tape() const { return body().tape; }
  uint32_t node() const { return body().node; }
  void set_recorded(uint64_t tape, uint32_t node) {
    body_->tape = tape;
    body_->node = node;
  }
  /// Identifies the tensor while it lives. For Tape.
  const void* id() const { return body_; }

 private:
  friend class Tape;
  template <class Values>
  static Tensor copy_of(const Values& values, const Shape& shape);
  friend Tensor empty(const Shape& shape, DType dtype);
  friend Tensor as_strided(const Tensor& x, const Shape& shape, std::span<const int64_t> strides,
                           int64_t offset);
  const detail::TensorBody& body() const {
    if (!body_) [[unlikely]]
      detail::throw_empty_tensor();
    return *body_;
  }
  char* row_major(DType asked) const {
    if (dtype() != asked || !body_->contiguous) [[unlikely]]
      detail::throw_no_data(*body_, asked);
    return body_->data;
  }
  detail::LeafState& leaf() { return body().leaf ? *body_->leaf : make_leaf(); }
  detail::LeafState& make_leaf();

  detail::TensorBody* body_ = nullptr;
};

namespace detail {
extern constinit const Tensor none;

struct LeafState {
  Tensor grad;
  std::string name;
};
}  // namespace detail

inline const Tensor& Tensor::grad() const& {
  return body().leaf ? body_->leaf->grad : detail::none;
}

/// Several tensors, without asking malloc.
using TensorList = std::vector<Tensor, FreeListAllocator<Tensor>>;

/// Uninitialized elements.
Tensor empty(const Shape& shape, DType dtype = DType::f32);
/// All elements 0.
Tensor zeros(const Shape& shape, DType dtype = DType::f32);
/// All elements 1.
Tensor ones(const Shape& shape, DType dtype = DType::f32);
/// All elements `value`; one that the dtype cannot hold is an error.
Tensor full(const Shape& shape, double value, DType dtype = DType::f32);
/// 0, 1, ..., n-1
Tensor arange(int64_t n, DType dtype = DType::i64);
/// begin, begin + step, ..., as long as they are below end, or above it with a negative step. Each
/// must be a number of the dtype: of fractions give f32 or f64.
Tensor arange(double begin, double end, double step = 1, DType dtype = DType::i64);
/// n numbers from begin to end, both included, as far from each other; of n = 1 begin.
Tensor linspace(double begin, double end, int64_t n, DType dtype = DType::f32);
/// The (n, n) identity.
Tensor eye(int64_t n, DType dtype = DType::f32);
/// The same with x's shape and dtype.
Tensor empty_like(const Tensor& x);
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);

// Below, nothing is recorded on a tape: for kernels' doors, data, optimizers.

/// A view of x's memory: element (i, j, ...) lies `offset` + i strides[0] + j strides[1] + ...
/// elements after x's first. One that does not lie in that memory is an error.
Tensor as_strided(const Tensor& x, const Shape& shape, std::span<const int64_t> strides,
                  int64_t offset);

namespace raw {

/// x if its elements lie in row-major order, else a copy that does.
Tensor contiguous(const Tensor& x);
/// A contiguous copy.
Tensor clone(const Tensor& x);

/// The elements of x, which must outlive this, in row-major order: where they lie, or in a copy.
class Contiguous {
 public:
  /// May be of an empty handle, if nothing is asked of it then.
  explicit Contiguous(const Tensor& x) : source_(&x) {
    if (x && !x.is_contiguous()) [[unlikely]]
      source_ = &(copy_ = clone(x));
  }
  explicit Contiguous(Tensor&&) = delete;
  Contiguous(const Contiguous&) = delete;
  Contiguous& operator=(const Contiguous&) = delete;
  /// x, or its copy.
  const Tensor& tensor() const& { return *source_; }
  const Tensor& tensor() const&& = delete;
  /// The first element; T must be the dtype's type.
  template <class T>
  const T* data() const& {
    return source_->data<T>();
  }
  template <class T>
  const T* data() const&& = delete;

 private:
  Tensor copy_;
  const Tensor* source_;
};

/// x's elements in another shape of as many; a view where x is contiguous. -1 once: what is left.
Tensor reshape(const Tensor& x, const Shape& shape);
/// A view that repeats x along axes of size 1 and along new leading ones; -1: x's size.
Tensor expand(const Tensor& x, const Shape& shape);
/// x's elements converted to another dtype, to i64 by cutting off fractions; of a number that i64
/// cannot hold an error.
Tensor cast(const Tensor& x, DType dtype);
/// y's elements become x's: equal shapes and dtypes. An error, here and below, names `op`.
void copy(const Tensor& x, Tensor& y, const char* op = "copy");
/// Every element of y becomes `value`, which its dtype must hold.
void fill(Tensor& y, double value, const char* op = "fill");
/// An error that names `op` where two of x's elements share their memory, as those of an expanded
/// tensor do: what is written to one would change the other.
void check_writable(const char* op, const Tensor& x);
/// Whether any element of a shares its memory with one of b.
bool overlap(const Tensor& a, const Tensor& b);
/// a + b, contiguous, for equal shapes and one floating dtype.
Tensor add(const Tensor& a, const Tensor& b);
/// y += x, for contiguous y and equal shapes and floating dtypes.
void accumulate(const Tensor& x, Tensor& y);

}  // namespace raw

/// The shape x's elements would have as `shape`, with -1 replaced; an error naming `op` otherwise.
Shape resolve_shape(const char* op, const Shape& from, const Shape& shape);

/// Throws Error naming `op` and both dtypes unless a and b have the same one.
inline void check_same_dtype(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() == b.dtype()) [[likely]]
    return;
  fail("{}: dtypes {} and {} do not mix; cast one of them", op, name(a.dtype()), name(b.dtype()));
}

/// Throws Error naming `op` and the number unless the dtype can hold it: f32 what is not beyond its
/// range, rounded; i64 integers below 2^53, where doubles are exact; bool all, 0 being false.
void check_number(const char* op, double value, DType dtype);

template <class Values>
Tensor Tensor::copy_of(const Values& values, const Shape& shape) {
  using T = std::remove_cv_t<typename Values::value_type>;
  using Stored = StoredElement<T>;
  (check)(static_cast<int64_t>(values.size()) == shape.numel(),
          "Tensor::from: {} values for shape {}", values.size(), shape);
  if constexpr (sizeof(T) == sizeof(int64_t) && std::unsigned_integral<T>)
    for (T value : values)
      (check)(value <= uint64_t{(std::numeric_limits<int64_t>::max)()},
              "Tensor::from: i64 cannot hold {}", value);
  Tensor x = empty(shape, dtype_of<Stored>);
  std::copy(values.begin(), values.end(), x.mutable_data<Stored>());
  return x;
}

template <Element T>
std::vector<T> Tensor::to_vector() const {
  using Stored = StoredElement<T>;
  const Tensor x = raw::cast(raw::contiguous(*this), dtype_of<Stored>);
  const Stored *first = x.data<Stored>(), *last = first + x.numel();
  if constexpr (!std::same_as<T, Stored>)
    for (const Stored* value = first; value != last; ++value)
      (check)(static_cast<Stored>(static_cast<T>(*value)) == *value &&
                  !(std::unsigned_integral<T> && *value < 0),
              "to_vector: {} does not fit the integer type asked for", *value);
  return std::vector<T>(first, last);
}

/// The values in nested brackets, then the dtype; of more than 1000 elements the first and last 3
/// of each axis. It is what fmt prints, where "{:.6}" asks for 6 digits after the point.
std::string str(const Tensor& x, int digits = 4);
/// Prints str(x).
std::ostream& operator<<(std::ostream& out, const Tensor& x);

}  // namespace gradus

/// Prints the values in nested brackets, then the dtype; of more than 1000 elements the first and
/// last 3 of each axis. "{:.6}" asks for 6 digits after the point instead of 4.
template <>
struct fmt::formatter<gradus::Tensor> : gradus::TextFormatter {
  constexpr auto parse(format_parse_context& context) -> format_parse_context::iterator {
    auto it = context.begin();
    if (it == context.end() || *it == '}') return it;
    if (*it++ != '.' || it == context.end() || *it < '0' || *it > '9')
      throw gradus::Error("a tensor's format is {} or {:.digits}");
    for (digits = 0; it != context.end() && *it >= '0' && *it <= '9'; ++it) {
      digits = digits * 10 + (*it - '0');
      if (digits > kMaxDigits) throw gradus::Error("a tensor is printed with up to 99 digits");
    }
    return it;
  }
  auto format(const gradus::Tensor& x, format_context& context) const {
    return copy(gradus::str(x, digits), context);
  }

  static constexpr int kMaxDigits = 99;
  int digits = 4;
};

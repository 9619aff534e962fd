#include <gradus/base/memory.h>
#include <gradus/tensor/detail/broadcast.h>
#include <gradus/tensor/tensor.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <new>

namespace gradus {

namespace detail {

constinit const Tensor none;

namespace {

/// What a fresh tensor asks for; its elements begin behind it.
struct alignas(64) Block {
  Block(const Shape& shape, DType dtype, size_t bytes)
      : storage{{}, 0, bytes}, body(dtype, shape, &storage, &storage) {}
  Storage storage;
  TensorBody body;
};

void unref(Storage* storage) noexcept {
  if (storage->refs.drop()) release(storage, sizeof(Block) + storage->bytes);
}

/// A body holds its elements and its home, and counts once where they are the same.
void unref_elements(TensorBody& body) noexcept {
  if (body.storage != body.home) unref(body.storage);
}

/// As many as a 64-bit processor can address, so that no size computed later overflows.
constexpr uint64_t kMostBytes = uint64_t{1} << 47;

[[gnu::always_inline]] inline size_t checked_bytes(const char* op, const Shape& shape,
                                                   DType dtype) {
  uint64_t bytes = size_of(dtype);  // with 1 for 0; a negative size counts as 2^63 and more
  bool overflow = false, no_elements = false;
  for (int64_t size : shape) {
    no_elements |= size == 0;
    overflow |= __builtin_mul_overflow(bytes, static_cast<uint64_t>(size + (size == 0)), &bytes);
  }
  check(!overflow && bytes <= kMostBytes,
        "{}: no tensor can have shape {}: a size is negative, or there are too many", op, shape);
  return no_elements ? 0 : bytes;
}

void set_row_major(TensorBody& body) {
  const int64_t* const sizes = body.shape.begin();
  int64_t stride = 1;
  for (int i = body.shape.ndim() - 1; i >= 0; --i) {
    body.strides[i] = stride;
    stride *= sizes[i];
  }
  body.numel = stride;
  body.contiguous = true;
}

[[noreturn, gnu::noinline]] void throw_bad_view(const TensorBody& x, const Shape& shape,
                                                std::span<const int64_t> strides, int64_t offset) {
  check(static_cast<int>(strides.size()) == shape.ndim(), "as_strided: {} strides for shape {}",
        strides.size(), shape);
  checked_bytes("as_strided", shape, x.dtype);
  fail("as_strided: shape {} with strides {} from element {} on leaves the memory of x {}", shape,
       Shape(strides), offset, x.shape);
}

}  // namespace

/// Not inline, so that a handle that is not the last pays for no stack frame.
[[gnu::noinline]] static void destroy(TensorBody* body) noexcept {
  delete body->leaf;
  unref_elements(*body);
  if (body->home)
    unref(body->home);
  else
    release(body, sizeof(TensorBody));
}

void drop(TensorBody* body) noexcept {
  if (body->refs.drop()) destroy(body);
}

void throw_empty_tensor() {
  fail("an empty Tensor was used: it was default-constructed or moved from");
}

void throw_no_data(const TensorBody& body, DType asked) {
  if (body.dtype != asked)
    fail("data: the tensor's dtype is {}, not {}; cast it first", gradus::name(body.dtype),
         gradus::name(asked));
  fail("data: the elements of this {} {} lie {} apart, not in row-major order; take contiguous(x)",
       body.shape, gradus::name(body.dtype),
       str(Shape(std::span(body.strides, static_cast<size_t>(body.shape.ndim())))));
}

}  // namespace detail

Tensor empty(const Shape& shape, DType dtype) {
  const size_t bytes = detail::checked_bytes("empty", shape, dtype);
  void* memory = nullptr;
  try {
    memory = allocate(sizeof(detail::Block) + bytes);
  } catch (const std::bad_alloc&) {
    fail("empty: there is no memory for shape {} {}, {} bytes", shape, dtype, bytes);
  }
  Tensor x;
  x.body_ = &(new (memory) detail::Block(shape, dtype, bytes))->body;
  detail::set_row_major(*x.body_);
  x.body_->data = static_cast<char*>(memory) + sizeof(detail::Block);
  return x;
}

Tensor zeros(const Shape& shape, DType dtype) {
  Tensor x = empty(shape, dtype);
  std::memset(x.mutable_bytes(), 0, static_cast<size_t>(x.numel()) * size_of(dtype));
  return x;
}

void check_number(const char* op, double value, DType dtype) {
  const bool held =
      dtype == DType::f32   ? !std::isfinite(value) || std::isfinite(static_cast<float>(value))
      : dtype == DType::i64 ? value == std::trunc(value) && value >= -0x1p63 && value < 0x1p63
                            : true;
  if (dtype == DType::i64 && std::abs(value) >= 0x1p53 && std::abs(value) <= 0x1p63) [[unlikely]]
    fail(
        "{}: an integer of 2^53 or more, {:.17g}, comes as a double, which may have rounded it; "
        "give it in a tensor of i64",
        op, value);
  if (!held) [[unlikely]]
    fail("{}: {} is no number of dtype {}{}", op, value, name(dtype),
         is_floating(dtype) ? "" : "; of fractions there is DType::f32, cast(x, DType::f32)");
}

Tensor full(const Shape& shape, double value, DType dtype) {
  Tensor x = empty(shape, dtype);
  raw::fill(x, value, "full");
  return x;
}

Tensor ones(const Shape& shape, DType dtype) { return full(shape, 1, dtype); }
Tensor empty_like(const Tensor& x) { return empty(x.shape(), x.dtype()); }
Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.dtype()); }
Tensor ones_like(const Tensor& x) { return ones(x.shape(), x.dtype()); }

Tensor arange(int64_t n, DType dtype) {
  check(n >= 0, "arange: a count of {}", n);
  Tensor x = empty({n}, dtype);
  dispatch(dtype, [&]<class T>() {
    T* values = x.mutable_data<T>();
    for (int64_t i = 0; i < n; ++i) values[i] = static_cast<T>(i);
  });
  return x;
}

Tensor arange(double begin, double end, double step, DType dtype) {
  check_number("arange", begin, dtype);
  check_number("arange", step, dtype);
  const double count = std::ceil((end - begin) / step);
  check(std::isfinite(begin) && step != 0 && count < 0x1p53, "arange: from {} to {} by steps of {}",
        begin, end, step);
  if (count > 0) check_number("arange", begin + step * (count - 1), dtype);
  Tensor x = empty({count > 0 ? static_cast<int64_t>(count) : 0}, dtype);
  dispatch(dtype, [&]<class T>() {
    T* values = x.mutable_data<T>();
    for (int64_t i = 0; i < x.numel(); ++i)
      values[i] = static_cast<T>(begin + step * static_cast<double>(i));
  });
  return x;
}

Tensor linspace(double begin, double end, int64_t n, DType dtype) {
  check_number("linspace", begin, dtype);
  check_number("linspace", end, dtype);
  check(is_floating(dtype) && std::isfinite(begin) && std::isfinite(end) && n >= 0,
        "linspace: {} numbers of {} from {} to {}", n, name(dtype), begin, end);
  Tensor x = empty({n}, dtype);
  dispatch_floating(dtype, "linspace", [&]<class T>() {
    T* values = x.mutable_data<T>();
    const double last = static_cast<double>(std::max<int64_t>(n - 1, 1));
    for (int64_t i = 0; i < n; ++i)
      values[i] = static_cast<T>(std::lerp(begin, end, static_cast<double>(i) / last));
  });
  return x;
}

Tensor eye(int64_t n, DType dtype) {
  Tensor x = zeros({n, n}, dtype);
  const int64_t stride[] = {n + 1};
  Tensor diagonal = as_strided(x, {n}, stride, 0);
  raw::fill(diagonal, 1);
  return x;
}

static Tensor tensor_of(std::span<const double> values, const Shape& shape, DType dtype) {
  for (double value : values) check_number("Tensor::of", value, dtype);
  return raw::cast(Tensor::from(values, shape), dtype);
}

Tensor Tensor::of(std::initializer_list<double> values, DType dtype) {
  return tensor_of({values.begin(), values.size()}, {static_cast<int64_t>(values.size())}, dtype);
}

Tensor Tensor::of(std::initializer_list<std::initializer_list<double>> rows, DType dtype) {
  std::vector<double> values;
  const size_t columns = rows.size() == 0 ? 0 : rows.begin()->size();
  for (const auto& row : rows) {
    check(row.size() == columns, "Tensor::of: rows of {} and {} values", columns, row.size());
    values.insert(values.end(), row.begin(), row.end());
  }
  return tensor_of(values, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns)},
                   dtype);
}

/// The element as a double, which has to hold it.
template <class T>
static double as_double(const char* op, T value) {
  if constexpr (std::is_same_v<T, int64_t>)
    check(value >= -(int64_t{1} << 53) && value <= int64_t{1} << 53,
          "{}: {} as a double would be rounded; take to_vector<int64_t>()", op, value);
  return static_cast<double>(value);
}

double Tensor::item() const {
  check(numel() == 1, "item: shape {} has {} elements, not one", shape(), numel());
  return dispatch(dtype(), [&]<class T>() { return as_double("item", *data<T>()); });
}

double Tensor::at(std::initializer_list<int64_t> index) const {
  check(static_cast<int>(index.size()) == ndim(), "at: {} indices for shape {}", index.size(),
        shape());
  int64_t offset = 0;
  int axis = 0;
  for (int64_t i : index) {
    check(i >= 0 && i < shape()[axis], "at: index {} in dimension {} of shape {}", i, axis,
          shape());
    offset += i * strides()[axis++];
  }
  return dispatch(dtype(), [&]<class T>() { return as_double("at", strided_data<T>()[offset]); });
}

detail::LeafState& Tensor::make_leaf() {
  body_->leaf = new detail::LeafState;
  return *body_->leaf;
}

Tensor& Tensor::set_requires_grad(bool requires_grad) & {
  check(!requires_grad || is_floating(dtype()),
        "set_requires_grad: only f32 and f64 have gradients, this tensor is {}",
        gradus::name(dtype()));
  body_->requires_grad = requires_grad;
  return *this;
}

void Tensor::set_grad(Tensor grad) {
  if (grad && (grad.shape() != shape() || grad.dtype() != dtype())) [[unlikely]]
    fail("set_grad: a gradient of shape {} {} for a tensor of shape {} {}", grad.shape(),
         gradus::name(grad.dtype()), shape(), gradus::name(dtype()));
  if (grad || body().leaf) leaf().grad = std::move(grad);
}

// At namespace scope: a fork may come in the midst of a function's first use of its static.
static const std::string no_name;

const std::string& Tensor::name() const& { return body().leaf ? body().leaf->name : no_name; }

Tensor& Tensor::set_name(std::string name) & {
  leaf().name = std::move(name);
  return *this;
}

void Tensor::set_data(const Tensor& other) {
  const detail::TensorBody& from = other.body();
  check(!body().requires_grad || is_floating(from.dtype),
        "set_data: {} elements for a tensor that requires a gradient", gradus::name(from.dtype));
  // A number that neither has had, so that who kept either notices.
  const uint32_t version = std::max(body_->storage->version, from.storage->version) + 1;
  body_->storage->version = from.storage->version = version;
  body_->tape = 0;
  if (from.storage != body_->storage) {
    if (from.storage != body_->home) from.storage->refs.add();
    detail::unref_elements(*body_);
    body_->storage = from.storage;
  }
  body_->data = from.data;
  body_->dtype = from.dtype;
  body_->shape = from.shape;
  body_->numel = from.numel;
  body_->contiguous = from.contiguous;
  std::copy_n(from.strides, from.shape.ndim(), body_->strides);
  set_grad({});
}

Tensor as_strided(const Tensor& x, const Shape& shape, std::span<const int64_t> strides,
                  int64_t offset) {
  const detail::TensorBody& from = x.body();
  const int64_t* const sizes = shape.begin();
  constexpr auto kMost = static_cast<int64_t>(detail::kMostBytes);
  const auto element = static_cast<int64_t>(size_of(from.dtype));
  int64_t product = 1;          // of the sizes, 1 for 0
  int64_t first = 0, last = 0;  // where elements begin, in bytes from x's first
  bool fits = static_cast<int>(strides.size()) == shape.ndim(), has_elements = true,
       row_major = true, inside = !__builtin_mul_overflow(offset, element, &first);
  last = first;
  for (int i = shape.ndim() - 1; i >= 0 && fits; --i) {
    const int64_t size = sizes[i], stride = strides[static_cast<size_t>(i)];
    row_major &= size == 1 || stride == product;
    has_elements &= size != 0;
    fits = size >= 0 && !__builtin_mul_overflow(product, size + (size == 0), &product) &&
           product <= kMost;
    if (!fits) break;
    int64_t reach = 0;
    int64_t& end = stride < 0 ? first : last;
    inside &= !__builtin_mul_overflow((size - 1) * element, stride, &reach) &&
              !__builtin_add_overflow(end, reach, &end);
  }
  const char* const begin = reinterpret_cast<const char*>(from.storage) + sizeof(detail::Block);
  const int64_t before = from.data - begin,
                behind = static_cast<int64_t>(from.storage->bytes) - before;
  inside = inside && first >= -before && last <= behind - element;
  if (!fits || product * element > kMost || (has_elements && !inside)) [[unlikely]]
    detail::throw_bad_view(from, shape, strides, offset);
  void* memory = allocate(sizeof(detail::TensorBody));
  from.storage->refs.add();
  Tensor view;
  view.body_ = new (memory) detail::TensorBody(from.dtype, shape, from.storage, nullptr);
  std::copy(strides.begin(), strides.end(), view.body_->strides);
  view.body_->data = has_elements ? from.data + offset * element : from.data;
  view.body_->numel = has_elements ? product : 0;
  view.body_->contiguous = !has_elements || row_major;
  return view;
}

Shape resolve_shape(const char* op, const Shape& from, const Shape& shape) {
  Shape result = shape;
  int64_t known = 1;
  int unknown = -1;
  bool overflow = false;
  for (int i = 0; i < shape.ndim(); ++i) {
    check(shape[i] >= -1 && (shape[i] != -1 || unknown < 0), "{}: cannot make {} from {}", op,
          shape, from);
    if (shape[i] == -1)
      unknown = i;
    else
      overflow |= __builtin_mul_overflow(known, shape[i], &known);
  }
  const int64_t numel = from.numel();
  if (unknown >= 0 && known > 0) result[unknown] = numel / known;
  check(!overflow && (unknown < 0 || known > 0) && result.numel() == numel,
        "{}: {} has {} elements and cannot become {}", op, from, numel, shape);
  return result;
}

namespace raw {

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor clone(const Tensor& x) {
  Tensor y = empty_like(x);
  if (x.is_contiguous())
    std::memcpy(y.mutable_bytes(), x.bytes(), static_cast<size_t>(x.numel()) * size_of(x.dtype()));
  else
    kernels::copy_strided(size_of(x.dtype()), x.ndim(), x.shape().begin(), x.strided_bytes(),
                          x.strides(), y.mutable_bytes());
  return y;
}

Tensor reshape(const Tensor& x, const Shape& shape) {
  const Shape resolved = resolve_shape("reshape", x.shape(), shape);
  const Tensor source = contiguous(x);
  int64_t strides[Shape::kMaxDims];
  int64_t stride = 1;
  for (int i = resolved.ndim() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= resolved[i];
  }
  return as_strided(source, resolved, {strides, static_cast<size_t>(resolved.ndim())}, 0);
}

Tensor expand(const Tensor& x, const Shape& asked) {
  const int leading = asked.ndim() - x.ndim();
  check(leading >= 0, "expand: {} has more dimensions than {}", x.shape(), asked);
  Shape shape = asked;
  for (int i = leading; i < shape.ndim(); ++i)
    if (shape[i] == -1) shape[i] = x.shape()[i - leading];
  detail::checked_bytes("expand", shape, x.dtype());
  int64_t strides[Shape::kMaxDims] = {};
  for (int i = leading; i < shape.ndim(); ++i) {
    const int64_t size = x.shape()[i - leading];
    check(size == shape[i] || size == 1, "expand: {} does not repeat to {}", x.shape(), asked);
    strides[i] = size == shape[i] ? x.strides()[i - leading] : 0;
  }
  return as_strided(x, shape, {strides, static_cast<size_t>(shape.ndim())}, 0);
}

/// Throws if there is a number that i64 cannot hold, fractions aside.
template <class T>
static void check_integers(const T* x, int64_t n) {
  const T* const bad =
      std::find_if_not(x, x + n, [](T value) { return value >= -0x1p63 && value < 0x1p63; });
  if (bad != x + n) [[unlikely]]
    fail("cast: {} at {} is no number of dtype i64", *bad, bad - x);
}

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const Tensor source = contiguous(x);
  Tensor y = empty(x.shape(), dtype);
  dispatch(x.dtype(), [&]<class From>() {
    dispatch(dtype, [&]<class To>() {
      if constexpr (std::is_floating_point_v<From> && std::is_same_v<To, int64_t>)
        check_integers(source.data<From>(), x.numel());
      kernels::cast<From, To>(x.numel(), source.data<From>(), y.mutable_data<To>());
    });
  });
  return y;
}

void copy(const Tensor& x, Tensor& y, const char* op) {
  check_same_dtype(op, x, y);
  check(x.shape() == y.shape(), "{}: shape {} into {}", op, x.shape(), y.shape());
  check_writable(op, y);
  const bool overlaps = x.storage_id() == y.storage_id() && !y.is_contiguous();
  const Tensor source = overlaps ? clone(x) : contiguous(x);
  if (y.is_contiguous())
    std::memmove(y.mutable_bytes(), source.bytes(),
                 static_cast<size_t>(x.numel()) * size_of(x.dtype()));
  else
    kernels::copy_to_strided(size_of(x.dtype()), y.ndim(), y.shape().begin(), source.bytes(),
                             y.mutable_strided_bytes(), y.strides());
}

void fill(Tensor& y, double value, const char* op) {
  if (!is_floating(y.dtype()) || !(std::abs(value) <= 1)) check_number(op, value, y.dtype());
  dispatch(y.dtype(), [&]<class T>() {
    if (y.is_contiguous())
      kernels::fill(y.numel(), static_cast<T>(value), y.mutable_data<T>());
    else
      copy(expand(full({}, value, y.dtype()), y.shape()), y, op);
  });
}

Tensor add(const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), "add: {} and {}", a.shape(), b.shape());
  return binary_forward<functions::Add>("add", a, b);
}

/// Whether x's elements are one, repeated, as in the gradient of a sum.
static bool repeats_one(const Tensor& x) {
  if (x.is_contiguous()) return false;
  for (int i = 0; i < x.ndim(); ++i)
    if (x.strides()[i] != 0 && x.shape()[i] != 1) return false;
  return true;
}

void accumulate(const Tensor& x, Tensor& y) {
  assert(y.is_contiguous() && x.shape() == y.shape());
  if (repeats_one(x))
    return dispatch_floating(y.dtype(), "accumulate", [&]<class T>() {
      kernels::add_value(y.numel(), *x.strided_data<T>(), y.mutable_data<T>());
    });
  const Contiguous source(x);
  dispatch_floating(y.dtype(), "accumulate", [&]<class T>() {
    kernels::accumulate(y.numel(), source.data<T>(), y.mutable_data<T>());
  });
}

}  // namespace raw
}  // namespace gradus

#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/tape.h>
#include <gradus/gradcheck/detail/evaluation.h>
#include <gradus/layers/detail/put_back.h>

#include <cmath>
#include <cstring>

namespace gradus::checking {

void FirstNotFinite::recorded(const Op& op, std::span<Tensor* const> outputs) {
  if (!found.empty()) return;
  for (const Tensor* y : outputs)
    if (*y && !all_finite(*y))
      found = fmt::format("{} {} made it first,{}", op.name, y->shape(), first_not_finite(*y));
}

void FirstNotFinite::swept(const Op& op, const Tensor& dx) {
  if (found.empty() && !all_finite(dx))
    found = fmt::format("the backward of {} made it first, of an input {},{}", op.name, dx.shape(),
                        first_not_finite(dx));
}

std::string first_not_finite(const Tensor& x) {
  const std::vector<double> values = x.to_vector<double>();
  for (size_t k = 0; k < values.size(); ++k)
    if (!std::isfinite(values[k]))
      return fmt::format(" at {}: {}", unravel(static_cast<int64_t>(k), x.shape()),
                         std::isnan(values[k]) ? "nan"
                         : values[k] > 0       ? "inf"
                                               : "-inf");
  return {};
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const Tensor x = raw::contiguous(a), y = raw::contiguous(b);
  return std::memcmp(x.bytes(), y.bytes(), static_cast<size_t>(x.numel()) * size_of(x.dtype())) ==
         0;
}

std::string describe_difference(const Tensor& a, const Tensor& b, double tolerance) {
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  size_t where = x.size();
  for (size_t k = 0; k < x.size(); ++k) {
    if (std::abs(x[k] - y[k]) <= tolerance) continue;
    tolerance = std::abs(x[k] - y[k]);
    where = k;
  }
  if (where == x.size()) return {};
  return fmt::format("{}: {:.12g} and {:.12g}", unravel(static_cast<int64_t>(where), a.shape()),
                     x[where], y[where]);
}

StateGuard::StateGuard(std::span<const Tensor> buffers)
    : random_(default_generator().state()), buffers_(buffers.begin(), buffers.end()) {
  for (const Tensor& buffer : buffers) values_.push_back(raw::clone(buffer));
}

StateGuard::~StateGuard() {
  try {
    restore();
  } catch (...) {  // there is no memory, or f gave a buffer another shape
    for (size_t i = 0; i < buffers_.size(); ++i) gradus::detail::put_back(values_[i], buffers_[i]);
  }
}

void StateGuard::restore() {
  default_generator().set_state(random_);
  for (size_t i = 0; i < buffers_.size(); ++i)
    if (!same_bytes(buffers_[i], values_[i])) raw::copy(values_[i], buffers_[i]);
}

Tensor Evaluation::call() {
  ++count_;
  Tensor y = f_(inputs_);
  check(static_cast<bool>(y), "gradcheck: the function returned no tensor");
  check(is_floating(y.dtype()), "gradcheck: the function returned {} {}, which has no derivative",
        y.shape(), name(y.dtype()));
  return y;
}

Tensor Evaluation::operator()() {
  const NoRecord pause;
  Tensor y = call();
  if (!all_finite(y)) fail_not_finite(y);
  guard_.restore();
  return y;
}

Tensor Evaluation::recorded() {
  Tensor y = call();
  if (!all_finite(y)) fail_not_finite(y);
  return y;
}

bool Evaluation::values(std::vector<double>& y) {
  const NoRecord pause;
  const Tensor result = call();
  guard_.restore();
  y = result.to_vector<double>();
  for (double value : y)
    if (!std::isfinite(value)) return false;
  return true;
}

void Evaluation::fail_not_finite(const Tensor& y) {
  guard_.restore();
  FirstNotFinite first;
  {
    const Tape tape;
    call();
  }
  guard_.restore();
  fail("gradcheck: the function's result {} is not finite at this point,{}{}", y.shape(),
       first_not_finite(y),
       first.found.empty() ? "; no recorded operation made it: look at its constants"
                           : "; " + first.found);
}

}  // namespace gradus::checking

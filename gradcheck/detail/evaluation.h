#pragma once
#include <gradus/autograd/functional/function.h>
#include <gradus/autograd/tape.h>
#include <gradus/tensor/random.h>

#include <vector>

namespace gradus::checking {

/// What a function may change in passing: this thread's random state, and `buffers`. restore() puts
/// back what was there at construction.
class StateGuard {
 public:
  explicit StateGuard(std::span<const Tensor> buffers);
  ~StateGuard();
  StateGuard(const StateGuard&) = delete;
  StateGuard& operator=(const StateGuard&) = delete;
  void restore();

 private:
  Generator::State random_;
  std::vector<Tensor> buffers_, values_;
};

/// Remembers the first op that made a value that is not finite, or passed back such a gradient.
class FirstNotFinite : public RecordObserver {
 public:
  void recorded(const Op& op, std::span<Tensor* const> outputs) override;
  void swept(const Op& op, const Tensor& dx) override;
  std::string found;
};

/// f at whatever its inputs hold, many times and each time as if it were the first.
class Evaluation {
 public:
  Evaluation(const Function& f, std::span<const Tensor> inputs, std::span<const Tensor> buffers)
      : f_(f), inputs_(inputs), guard_(buffers) {}

  /// f's result, checked to be a floating tensor that is finite; without recording. Errors name the
  /// op that made the first value that is not.
  Tensor operator()();
  /// The same on the recording tape; what f changed is put back by restore().
  Tensor recorded();
  void restore() { guard_.restore(); }
  int64_t count() const { return count_; }
  /// f's values, for a search: false if one is not finite; they are there all the same.
  bool values(std::vector<double>& y);

 private:
  Tensor call();
  void fail_not_finite(const Tensor& y);

  const Function& f_;
  std::span<const Tensor> inputs_;
  StateGuard guard_;
  int64_t count_ = 0;
};

/// " at (1, 2): nan" for the first element that is not finite; empty if all are.
std::string first_not_finite(const Tensor& x);
/// Whether both hold the same bytes.
bool same_bytes(const Tensor& a, const Tensor& b);
/// "(1, 2): 0.5 and 0.7" for the element that differs most, if by more than `tolerance`; else
/// empty. For equal shapes.
std::string describe_difference(const Tensor& a, const Tensor& b, double tolerance = 0);

}  // namespace gradus::checking

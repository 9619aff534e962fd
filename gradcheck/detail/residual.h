#pragma once
#include <gradus/gradcheck/diagnosis.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

namespace gradus {

std::vector<int64_t> strides_of(const Shape& shape);
/// The position of element k along an axis.
inline int64_t along(int64_t k, int axis, const Shape& shape, const std::vector<int64_t>& strides) {
  return k / strides[static_cast<size_t>(axis)] % shape[axis];
}
Axes axes_of(unsigned bits);

/// Which group each entry belongs to, if those that differ along `axes` (bits) alone are one group.
struct EntryGroups {
  std::vector<size_t> of;
  size_t count;
};
EntryGroups group_along(const Shape& shape, unsigned axes);
/// Sets of axes (bits) along which groups have at least `least` entries, largest groups first.
std::vector<unsigned> axis_sets(const Shape& shape, int64_t least);

namespace checking {

/// Analytic a(r, k) and numeric n(r, k) of one input's Jacobian, for the search for patterns.
class Residual {
 public:
  explicit Residual(const JacobianRows& jacobian);

  const JacobianRows& jacobian() const { return j_; }
  size_t rows() const { return rows_; }
  size_t entries() const { return n_; }
  double a(size_t r, size_t k) const { return j_.analytic[r * n_ + k]; }
  double n(size_t r, size_t k) const { return j_.numeric[r * n_ + k]; }
  double tolerance(size_t r, size_t k) const { return j_.tolerance[r * n_ + k]; }
  /// Not at a kink, and resolved.
  bool known(size_t r, size_t k) const { return std::isfinite(tolerance(r, k)); }
  /// Whether the row is of one output element, not of a weighted sum.
  bool single(size_t r) const { return j_.rows[r] >= 0; }
  bool has_single_rows() const { return has_single_rows_; }
  /// The rows to look at where which output counts: single ones, if there are any.
  bool tells_outputs(size_t r) const { return single(r) || !has_single_rows_; }
  /// The row of an output element; -1: none.
  int64_t row_of(int64_t output) const { return row_of_[static_cast<size_t>(output)]; }
  /// Whether an entry disagrees in any row.
  bool wrong(size_t k) const { return wrong_[k]; }
  size_t wrong_count() const { return wrong_count_; }
  double largest_difference() const { return largest_; }

  bool close(double x, double y, double tolerance) const {
    return std::abs(x - y) <= tolerance + 1e-6 * largest_;
  }
  bool zero(double value, size_t r, size_t k) const { return std::abs(value) <= tolerance(r, k); }
  bool numeric_zero(size_t r, size_t k) const { return zero(n(r, k), r, k); }
  bool analytic_zero(size_t r, size_t k) const { return zero(a(r, k), r, k); }
  /// Whether neither side has a gradient there.
  bool inactive(size_t r, size_t k) const { return numeric_zero(r, k) && analytic_zero(r, k); }

  /// Whether model(r, k), an optional, is the analytic derivative wherever it is one, in all rows
  /// for which use(r).
  template <class Model, class Use>
  bool explained_by(Model model, Use use) const {
    bool any = false;
    for (size_t r = 0; r < rows_; ++r) {
      if (!use(r)) continue;
      for (size_t k = 0; k < n_; ++k) {
        if (!known(r, k)) continue;
        const std::optional<double> expected = model(r, k);
        if (expected && !close(a(r, k), *expected, tolerance(r, k))) return false;
        any = any || (expected && !zero(*expected, r, k));
      }
    }
    return any;
  }
  template <class Model>
  bool explained_by(Model model) const {
    return explained_by(model, [](size_t) { return true; });
  }

 private:
  const JacobianRows& j_;
  size_t rows_, n_, wrong_count_ = 0;
  std::vector<int64_t> row_of_;
  std::vector<uint8_t> wrong_;
  bool has_single_rows_ = false;
  double largest_ = 0;
};

}  // namespace checking

/// Patterns of normalizations: mean and variance terms, other statistics.
std::optional<Diagnosis> diagnose_statistics(const checking::Residual& residual);
std::optional<Diagnosis> diagnose_weight_statistics(const checking::Residual& residual);

}  // namespace gradus

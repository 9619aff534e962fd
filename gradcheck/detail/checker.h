#pragma once
#include <gradus/gradcheck/detail/evaluation.h>
#include <gradus/gradcheck/detail/judge.h>
#include <gradus/gradcheck/detail/numeric_derivative.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/layers/detail/put_back.h>

#include <span>
#include <string>
#include <vector>

namespace gradus::checking {

/// Moves a tensor's values from where they are; puts them back at the end.
class Perturbation {
 public:
  explicit Perturbation(const Tensor& x)
      : x_(x), before_(raw::clone(x)), values_(x.to_vector<double>()) {}
  ~Perturbation() { gradus::detail::put_back(before_, x_); }
  Perturbation(const Perturbation&) = delete;
  Perturbation& operator=(const Perturbation&) = delete;
  const std::vector<double>& values() const { return values_; }
  /// Entry k becomes its value + h.
  void entry(int64_t k, double h);
  /// Every entry becomes its value + h v.
  void along(std::span<const double> v, double h);

 private:
  Tensor x_, before_;
  std::vector<double> values_;
};

/// n independent normals, of unit norm: no common part takes most of it, and none is left out.
std::vector<double> random_direction(int64_t n, Generator& generator);
/// 0 .. n-1
std::vector<int64_t> all_entries(int64_t n);
/// Seconds on a clock that only goes forward.
double now();

/// Errors for what cannot be checked, and for options without sense.
void check_inputs(std::span<const Tensor> inputs);
void check_options(const GradcheckOptions& options);

/// One check of one function: its analytic derivatives, numeric ones, and the report.
class Checker {
 public:
  using Directions = std::vector<std::vector<std::vector<double>>>;  ///< [block][column]

  Checker(const Function& f, std::span<const Tensor> inputs, const GradcheckOptions& options,
          int order);

  /// Against Ridders' differences.
  GradcheckReport run();
  /// Against blocks whose `numeric` and `bound` are given, one an input.
  GradcheckReport compare(const JacobianRowSet& rows, std::vector<JacobianBlock> blocks,
                          std::string method);
  /// What every check needs to know first; false if no derivative can be had.
  bool look_at_the_function();
  /// The report, as far as it got.
  GradcheckReport finish();

  void add_fault(std::string fault) { report_.faults.push_back(std::move(fault)); }
  void add_warnings(std::vector<std::string> warnings) { report_.warnings = std::move(warnings); }
  const Tensor& y() const { return y_; }
  Evaluation& evaluate() { return evaluate_; }

  /// Every output element, and one weighted sum; or weighted sums alone.
  JacobianRowSet all_rows() const;
  JacobianRowSet random_rows() const;
  /// A block of all entries of an input.
  JacobianBlock whole_block(size_t input, size_t rows) const;
  /// Fills in the analytic side, by one sweep a row, and what rounding makes of it. Columns are the
  /// blocks' entries, or directions.
  void fill_analytic(const JacobianRowSet& rows, std::vector<JacobianBlock>& blocks,
                     const Directions* directions = nullptr);

 private:
  /// Whether the Jacobian has no entries.
  bool is_empty() const;
  GradcheckReport finish_empty();
  template <class Show>
  void sweep(const JacobianRowSet& rows, std::span<const JacobianBlock> blocks,
             const Directions* directions, Show show);
  template <class Visit>
  bool near_the_point(double spacing, double power, Visit visit);
  void expect_same_sweep(const JacobianRowSet& rows, std::span<const JacobianBlock> blocks,
                         std::span<const std::vector<std::vector<double>>> points);
  void blame_not_finite(const JacobianRowSet& rows);
  bool any_singular() const;
  void start_rows(const JacobianRowSet& rows);
  void fill_column(const JacobianRowSet& rows, JacobianBlock& block, size_t column, double step,
                   const std::string& where, const std::function<void(double)>& move);
  void fill_entries(const JacobianRowSet& rows, JacobianBlock& block);
  void fill_directions(const JacobianRowSet& rows, JacobianBlock& block,
                       std::span<const std::vector<double>> directions);
  bool full_is_affordable();
  void run_full();
  void run_projected();
  void state_miss_probability(std::span<const JacobianBlock> blocks, size_t rows);

  // Which entries of inputs that disagree along random directions are wrong, and how: localize.cc
  JacobianRowSet some_rows() const;
  bool can_look_at_all(size_t input) const;
  void localize();
  void find_in_large(GradcheckInput& found);
  GradcheckInput judge_entries(const JacobianRowSet& rows, size_t input,
                               std::vector<int64_t> entries);
  std::vector<int64_t> bisect(size_t input, const JacobianRowSet& rows, int64_t& looked,
                              bool& complete);

  bool is_f32() const { return inputs_[0].dtype() == DType::f32; }
  double first_step(double x) const;
  JudgeScale scale() const { return {options_.safety, options_.resolution, zero_size_}; }

  std::span<const Tensor> inputs_;
  const GradcheckOptions& options_;
  StateGuard inputs_as_before_;
  Evaluation evaluate_;
  GradcheckReport report_;
  double begin_;

  Tensor y_;  // f at the inputs
  std::vector<double> y_values_;
  double evaluation_seconds_ = 0, zero_size_ = 0;
  std::vector<uint8_t> reached_;  // inputs that a path leads to
  // Entries of inputs whose gradients are not finite: f may have no values beside them.
  std::vector<std::vector<uint8_t>> singular_;
  // Of the rows that are being differentiated:
  std::vector<double> at_0_, noise_, y_moved_;
  Ridders ridders_;
};

}  // namespace gradus::checking

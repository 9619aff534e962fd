#pragma once
#include <gradus/gradcheck/detail/numeric_derivative.h>
#include <gradus/gradcheck/gradcheck.h>

namespace gradus::checking {

double rms(std::span<const double> values);
/// The largest modulus.
double largest_of(std::span<const double> values);

/// The functions of f's output that are differentiated: single elements, and weighted sums of all.
struct JacobianRowSet {
  Shape output;
  std::vector<int64_t> elements;
  std::vector<std::vector<double>> weights;

  size_t size() const { return elements.size() + weights.size(); }
  /// -1 for a weighted sum.
  std::vector<int64_t> outputs() const;
  /// The gradient to start a sweep from.
  Tensor dy(size_t row, DType dtype) const;
  /// The rows' values at an output.
  void apply(std::span<const double> y, std::span<double> values) const;
};

/// Derivatives of all rows with respect to some entries of one input, or along some directions.
struct JacobianBlock {
  size_t input = 0;
  std::vector<int64_t> entries;  ///< one a column; empty: directions
  size_t columns = 0;
  std::vector<double> analytic, numeric, bound;  ///< (rows, columns)
  std::vector<uint8_t> kink;
  /// Of a column's analytic side, what rounding makes of it for a weighted sum of unit norm.
  std::vector<double> noise;
  int64_t confirmed = 0;  ///< columns whose disagreement further estimates found, too

  void resize(size_t rows, size_t count);
  /// The same bound for each derivative, and no noise besides.
  void allow(double difference);
};

/// How a block's numbers are judged.
struct JudgeScale {
  double safety, resolution;
  /// What a derivative of 0 is resolved against, if its tensor's rms is not larger: 1e-3 of one by
  /// which the input changes the output as much as both are large.
  double zero_size;

  /// How far an analytic derivative without rounding may lie from a numeric one.
  double tolerance(double bound, double size) const { return safety * bound + 1e-12 * size; }
};

/// An input's verdicts, its wrong entries, and what they look like.
GradcheckInput judge(const JacobianBlock& block, const JacobianRowSet& rows, const Tensor& input,
                     const JudgeScale& scale);

/// "weight", or "input 1" without a name.
std::string input_name(const Tensor& input, size_t i);
/// Adds up the inputs' counts and finds the worst entry.
void total_up(GradcheckReport& report);
/// The line that does the check again.
std::string reproduction(const GradcheckOptions& options, const GradcheckReport& report);

/// Names inputs whose gradients are each other's.
void find_swapped_inputs(std::span<const JacobianBlock> blocks, size_t rows,
                         std::span<const Tensor> inputs, std::span<GradcheckInput> found);

}  // namespace gradus::checking

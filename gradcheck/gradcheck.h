#pragma once
#include <gradus/autograd/functional/function.h>
#include <gradus/autograd/tape.h>
#include <gradus/gradcheck/diagnosis.h>

#include <iosfwd>
#include <string>
#include <vector>

namespace gradus {

/// What a check found about one entry. With tolerance = safety * (bound of the numeric derivative's
/// error) + what rounding was seen to make of the analytic one + 1e-12 of the largest derivative of
/// its output element + 1e-13 of the largest of its tensor:
enum class Verdict {
  agrees,      ///< |analytic - numeric| <= tolerance
  disagrees,   ///< |analytic - numeric| > tolerance
  unresolved,  ///< agrees, but the tolerance is above `resolution`: too wide to tell
  kink,        ///< the function has two slopes here; reported, not failed
};
/// "agrees", "disagrees", "unresolved", "kink"
const char* name(Verdict verdict);

/// Which derivatives are compared.
enum class GradcheckMode {
  automatic,  ///< full if the Jacobian has up to 2^20 elements and the time budget allows it
  full,       ///< every output element's derivative by every input entry
  projected,  ///< u^T J v for random u and v
};
/// "automatic", "full", "projected"
const char* name(GradcheckMode mode);

/// How a check goes about; docs/gradient_checking.md says when to change what.
struct GradcheckOptions {
  /// Of a derivative, relative to it or to the rms of its entry's derivatives. An analytic one that
  /// is 0 but for rounding is resolved relative to its tensor's rms, or to 1e-3 rms(y) / max(1,
  /// rms(x)) if that is larger.
  double resolution = 1e-6;
  double safety = 4;  ///< how many error bounds may lie between analytic and numeric
  uint64_t seed = 1;  ///< of all random directions
  GradcheckMode mode = GradcheckMode::automatic;  ///< which derivatives are compared
  int probes = 4;       ///< projected: so many u, and so many v for each input
  double seconds = 10;  ///< the time budget of a full check
  /// Tensors that f changes, e.g. running statistics: restored after every evaluation, as
  /// default_generator() always is.
  std::vector<Tensor> buffers = {};
  std::string subject = {};    ///< what is checked; for the report
  std::string reproduce = {};  ///< how to do it again, if not by gradcheck(f, inputs, ...)
};

/// One derivative, seen from both sides.
struct GradcheckEntry {
  int input = -1;                    ///< which input
  std::string name;                  ///< its name, if it has one
  Shape index;                       ///< which of its entries; projected: empty, a direction
  Shape output;                      ///< of which output element; empty for a weighted sum of all
  double analytic = 0, numeric = 0;  ///< what the tape says, what f says
  double bound = 0;                  ///< of the error of `numeric`
};

/// How many entries of an input there are of each verdict. An entry counts once, by the worst of
/// its output elements. Projected, entries are directions.
struct GradcheckCounts {
  int64_t agree = 0, disagree = 0, unresolved = 0, kink = 0;  ///< by verdict
  /// Their sum.
  int64_t total() const { return agree + disagree + unresolved + kink; }
};

/// What a check found about one input.
struct GradcheckInput {
  int input = -1;            ///< which
  std::string name;          ///< "input 0" if it has none
  Shape shape;               ///< its own
  GradcheckCounts counts;    ///< its entries' verdicts
  double largest_error = 0;  ///< |analytic - numeric| / max(1, |analytic|, |numeric|)
  GradcheckEntry worst;      ///< furthest beyond its tolerance
  /// The entries (row-major) that disagree, as far as they were looked for.
  std::vector<int64_t> wrong;
  std::string where;    ///< "entries [3]; 1 of 5"; empty if none disagrees
  Diagnosis diagnosis;  ///< what its wrong gradient looks like
};

/// What a check found: convert it to bool, print it, or read its fields.
struct GradcheckReport {
  std::string subject;  ///< what was checked
  std::string method;   ///< "full Jacobian (12 x 20) against Ridders' differences"
  GradcheckMode mode = GradcheckMode::full;  ///< full or projected
  int order = 1;                             ///< 2: gradgradcheck
  std::vector<GradcheckInput> inputs;        ///< one by one
  std::vector<std::string> faults;           ///< each fails the check, whatever the entries say
  std::vector<std::string> warnings;         ///< what makes the check weak
  /// Of a module that disagrees: the ops in it whose own samples disagree, too.
  std::vector<std::string> suspects;
  /// Projected: an error of `miss_size` times an input's Jacobian (Frobenius norms) goes unnoticed
  /// with at most this probability.
  double miss_size = 0, miss_probability = 0;
  int64_t evaluations = 0;  ///< of f
  int64_t sweeps = 0;       ///< of the tape
  double seconds = 0;       ///< that the check took
  std::string reproduce;    ///< the call that does it again

  int64_t entries = 0;                                               ///< of all inputs
  int64_t agreeing = 0, disagreeing = 0, unresolved = 0, kinks = 0;  ///< of those, by verdict
  double largest_error = 0;                                          ///< the largest of all inputs'
  GradcheckEntry worst;                                              ///< the worst of all inputs'

  /// No fault, no entry that disagrees, and some that agree, if there are any.
  bool ok() const { return faults.empty() && disagreeing == 0 && (agreeing > 0 || entries == 0); }
  /// ok()
  explicit operator bool() const { return ok(); }
  /// A line, and one for each warning, if all is well; else table().
  std::string text() const;
  /// The inputs, what was found, and, in the last line, how to do it again.
  std::string table() const;
};

/// The report as JSON; what disagrees with where, pattern and worst entry.
std::string to_json(const GradcheckReport& report);
/// table(), so that BOOST_TEST(report) shows it.
std::ostream& operator<<(std::ostream& out, const GradcheckReport& report);

/// Compares f's derivatives by a sweep of the tape with Ridders' extrapolation of differences.
/// inputs: leaves that share no memory, f64 (or f32, which resolves little); restored exactly
///
/// Full, each output element has its own sweep, and one random weighted sum of all of them, so that
/// no error can hide in a direction that is not looked at. Errors: inputs that cannot be checked,
/// no tensor returned, no path to any input, values that are not finite (the op that made the first
/// is named), an f that throws (with its message and where).
GradcheckReport gradcheck(const Function& f, std::span<const Tensor> inputs,
                          const GradcheckOptions& options = {});
inline GradcheckReport gradcheck(const Function& f, std::initializer_list<Tensor> inputs,
                                 const GradcheckOptions& options = {}) {
  return gradcheck(f, std::span(inputs.begin(), inputs.size()), options);
}

/// The same for the gradient: of J(x)^T v, all inputs' parts in one vector, by x and by v. The
/// recorded gradient must also be the unrecorded one.
GradcheckReport gradgradcheck(const Function& f, std::span<const Tensor> inputs,
                              const GradcheckOptions& options = {});
inline GradcheckReport gradgradcheck(const Function& f, std::initializer_list<Tensor> inputs,
                                     const GradcheckOptions& options = {}) {
  return gradgradcheck(f, std::span(inputs.begin(), inputs.size()), options);
}

}  // namespace gradus

template <>
struct fmt::formatter<gradus::GradcheckReport> : gradus::TextFormatter {
  auto format(const gradus::GradcheckReport& report, format_context& context) const {
    return write(report.table(), context);
  }
};

#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace gradus::checking {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Several functions of one variable: writes their values at h; false where one is not finite.
using Line = std::function<bool(double h, std::span<double> values)>;

/// How far rounding alone moves functions, from their values at 16 points in a row: six standard
/// deviations by differences of fourth to seventh order, in which what is smooth has vanished (Moré
/// & Wild 2011, "Estimating computational noise"; here by their median, which a kink between two of
/// the points does not change, and by the order with the least). Not less than half of the
/// functions have, nor than `epsilon` times the largest value.
constexpr int kNoisePoints = 16;
std::vector<double> rounding_noise(std::span<const std::vector<double>> points,
                                   double epsilon = 0x1p-52);

struct RiddersOptions {
  double step = 0x1p-6;   ///< the first and longest
  int least = 2;          ///< at least so many steps
  int levels = 36;        ///< at most so many; the last is some 8e-12 of the first
  double target = 1e-10;  ///< enough: a bound so small beside the value, or 1e-3 of the values' rms
};

/// Derivatives at 0 of several functions, each for itself.
struct Derivatives {
  std::vector<double> value;
  std::vector<double> bound;  ///< of the error of `value`, by truncation and by rounding
  std::vector<double> jump;   ///< how far apart one-sided slopes may be as the step goes to 0
  std::vector<uint8_t> kink;  ///< whether they surely are apart
  int evaluations = 0;        ///< of the line
};

/// Ridders' extrapolation (Ridders 1982, "Accurate computation of F'(x) and F'(x)F''(x)"): central
/// differences with ever shorter steps and their extrapolations to 0; the one whose neighbours
/// differ least from it is taken, and that difference, with what rounding makes of `noise` / h, is
/// its bound. A difference over a shorter step that is further from it than the one before and than
/// the bound refutes it: f has a feature narrower than the steps so far, and they are dropped. The
/// difference of the one-sided slopes is extrapolated alike: it goes to 0 unless there is a kink.
/// Steps at whose ends a value is not finite are passed over. Where the steps end before they tell,
/// the bound is infinite.
/// at_0: the values at 0   noise: see rounding_noise
class Ridders {
 public:
  /// Valid until the next call.
  const Derivatives& operator()(const Line& line, std::span<const double> at_0,
                                std::span<const double> noise, const RiddersOptions& options = {});

 private:
  void add_step(double h, std::span<const double> at_0, std::span<const double> noise);
  bool all_done(double h, std::span<const double> noise, const RiddersOptions& options);
  void start_again(size_t j, double slope, double jump);

  size_t width_ = 0;
  double shortest_constant_ =
      0;  // a step over which nothing changes is believed if it is no shorter
  Derivatives d_;
  std::vector<double> plus_, minus_;
  std::vector<double> slopes_, jumps_;  // the tables' last rows
  std::vector<double> last_jump_, range_;
  std::vector<int> rows_, since_kink_, apart_;
  std::vector<uint8_t> done_;
};

}  // namespace gradus::checking

#pragma once
#include <gradus/gradcheck/gradcheck.h>

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace gradus::lab {

struct GradcheckSettings {
  std::vector<std::string> names = {};  ///< ops and modules; none: all
  std::vector<int> orders = {1, 2};
  uint64_t seed = 1;
  GradcheckMode mode = GradcheckMode::automatic;
};

/// All that was checked of an op, a module, or a saved model.
struct Checked {
  std::string name;
  std::string kind;  ///< "op", "module", "model"
  int64_t samples = 0;
  std::vector<GradcheckReport> reports;  ///< of each sample, one an order

  bool ok() const;
  int64_t entries() const;
  /// The largest over the reports of an order.
  double largest_error(int order) const;
};

/// Checks the samples of every op and module, or of those that are named. before(i, n, name) is
/// called before each. Errors: a name that is neither.
std::vector<Checked> check_samples(
    const GradcheckSettings& settings,
    const std::function<void(size_t, size_t, const std::string&)>& before);

struct ModelSettings {
  std::string model = {}, norm = "none";
  std::string weights = {};  ///< a file that Module::save wrote; empty: first weights
};

/// Checks a model's loss on eight images of the digits, in training, to first order.
Checked check_model(const ModelSettings& model, const GradcheckSettings& settings);

std::string gradcheck_table(const std::vector<Checked>& checked);
nlohmann::ordered_json to_json(const std::vector<Checked>& checked);

}  // namespace gradus::lab

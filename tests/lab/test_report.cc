#define BOOST_TEST_MODULE report
#include <nlohmann/json.hpp>

#include "lab/report.h"
#include "tests/checks.h"

using namespace gradus;
using namespace gradus::lab;

namespace {

/// A finished run whose test accuracies are these.
Run run_of(const std::string& model, const std::string& norm, uint64_t seed,
           const std::vector<double>& accuracies, double loss = 0.5) {
  Run run{
      model, norm, seed, 100 + static_cast<int64_t>(norm.size()), 2.0 * static_cast<double>(seed),
      {}};
  for (size_t e = 0; e < accuracies.size(); ++e)
    run.epochs.push_back({static_cast<int64_t>(e) + 1, loss, accuracies[e],
                          norm == "batch" ? accuracies[e] - 0.01 : accuracies[e]});
  run.finished = true;
  return run;
}

/// none: 0.9, 0.96, 0.99; batch above it in the first two seeds.
std::vector<Run> three_seeds() {
  return {run_of("cnn", "none", 1, {0.5, 0.90}, 0.1),  run_of("cnn", "batch", 1, {0.95, 0.97}),
          run_of("cnn", "none", 2, {0.95, 0.96}, 0.2), run_of("cnn", "batch", 2, {0.8, 0.98}),
          run_of("cnn", "none", 3, {0.5, 0.99}, 0.6),  run_of("cnn", "batch", 3, {0.96, 0.96})};
}

bool contains(const std::string& text, const std::string& part) {
  BOOST_TEST_INFO("the text was:\n" << text);
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(means_deviations_and_differences_by_hand) {
  const auto s = summarize(three_seeds());
  BOOST_TEST_REQUIRE(s.size() == 2);
  BOOST_TEST(s[0].norm == "none");
  BOOST_TEST(s[0].runs == 3);
  BOOST_TEST(std::abs(s[0].accuracy_mean - 0.95) < 1e-12);
  // ((0.05)^2 + (0.01)^2 + (0.04)^2) / 2 = 0.0021
  BOOST_TEST(std::abs(s[0].accuracy_deviation - std::sqrt(0.0021)) < 1e-12);
  BOOST_TEST(std::abs(s[0].final_loss - 0.3) < 1e-12);
  BOOST_TEST(s[0].reached_95 == 2);
  BOOST_TEST(s[0].epochs_to_95 == 1.5);  // epochs 1 and 2
  BOOST_TEST(s[0].step_ms == 4);
  BOOST_TEST(s[0].gap == 0);
  BOOST_TEST(s[0].pairs == 0);
  BOOST_TEST(s[1].reached_95 == 3);
  BOOST_TEST(std::abs(s[1].epochs_to_95 - 4.0 / 3) < 1e-12);
  BOOST_TEST(std::abs(s[1].gap + 0.01) < 1e-12);
  BOOST_TEST(s[1].reference == "none");
  BOOST_TEST(s[1].pairs == 3);
  BOOST_TEST(s[1].higher == 2);
  BOOST_TEST(s[1].lower == 1);
  BOOST_TEST(std::abs(s[1].difference - (0.07 + 0.02 - 0.03) / 3) < 1e-12);
  BOOST_TEST(s[1].parameters == 105);
}

// With 2 degrees t is (2 p - 1) / sqrt(2 p (1 - p)), 4.302653 at p = 0.975. The differences 0.07,
// 0.02, -0.03 have deviation 0.05.
BOOST_AUTO_TEST_CASE(intervals_by_hand) {
  std::vector<Run> runs = three_seeds();
  const double t = 0.95 / std::sqrt(2 * 0.975 * 0.025);
  BOOST_TEST(std::abs(summarize(runs)[1].half_width - t * 0.05 * std::sqrt(1.0 / 3)) < 1e-12);
  for (Run& run : runs) run.test_to_train = 0.25;
  BOOST_TEST(std::abs(summarize(runs)[1].half_width - t * 0.05 * std::sqrt(1.0 / 3 + 0.25)) <
             1e-12);
  runs.resize(2);
  BOOST_TEST(summarize(runs)[1].half_width == 0);
}

BOOST_AUTO_TEST_CASE(diverged_and_stopped_runs_stay_out_of_the_means) {
  std::vector<Run> runs = three_seeds();
  runs[1].finished = false;  // batch, seed 1
  runs[1].diverged_in = 2;
  runs[5].finished = false;  // batch, seed 3, stopped
  const auto s = summarize(runs);
  BOOST_TEST(s[1].runs == 1);
  BOOST_TEST(s[1].diverged == 1);
  BOOST_TEST(s[1].accuracy_mean == 0.98);
  BOOST_TEST(s[1].pairs == 1);
  BOOST_TEST(contains(table(s), "batch *"));
  BOOST_TEST(contains(table(s), "left out"));
  BOOST_TEST(!contains(table(summarize(three_seeds())), "left out"));
  BOOST_TEST(to_json({.models = {"cnn"}, .norms = {"none", "batch"}}, "", runs)["complete"] ==
             false);

  for (Run& run : runs) {
    run.finished = false;
    run.diverged_in = 1;
  }
  BOOST_TEST(contains(table(summarize(runs)), "diverged"));
  const auto json = to_json({.models = {"cnn"}, .norms = {"none", "batch"}}, "", runs);
  BOOST_TEST(json["complete"] == true);
  BOOST_TEST(json["results"][0]["test_accuracy_mean"].is_null());
  BOOST_TEST(table(summarize({})) == "");
}

BOOST_AUTO_TEST_CASE(table_shows_the_figures) {
  const std::string text = table(summarize(three_seeds()));
  for (const char* part : {"95.00 ± 4.58", "+2.00 (2/3)", "0.3000", "1.5 (2/3)", "1.3", "-1.00",
                           "4.000", "105", "vs none"})
    BOOST_TEST(contains(text, part), part << " in\n" << text);
  const std::string alone = table(summarize({run_of("rnn", "layer", 1, {0.5})}));
  BOOST_TEST(contains(alone, "50.00"));
  BOOST_TEST(contains(alone, "never"));
  BOOST_TEST(!contains(alone, "points gained"));
}

BOOST_AUTO_TEST_CASE(findings_follow_from_the_figures) {
  BOOST_TEST(findings(summarize(three_seeds())) ==
             "Against none these seeds leave every difference undecided (95 %).\n"
             "First at 95 %, in epochs: cnn batch (1.3).\n");
  std::vector<Run> runs = three_seeds();
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    runs.push_back(run_of("mlp", "none", seed, {0.9}));
    runs.push_back(run_of("mlp", "batch", seed, {0.8 - 0.001 * static_cast<double>(seed)}));
  }
  for (size_t i = 1; i < 6; i += 2)  // above by 0.07, 0.08, 0.09
    runs[i].epochs.back().test_accuracy =
        runs[i - 1].epochs.back().test_accuracy + 0.06 + 0.005 * static_cast<double>(i + 1);
  // 0.08 +- 4.302653 0.01 / sqrt(3); -0.1015 +- 12.706205 0.0007071068 / sqrt(2)
  BOOST_TEST(findings(summarize(runs)) ==
             "Above none at 95 % confidence each: cnn batch (+5.52 to +10.48 points).\n"
             "Below none at 95 % confidence each: mlp batch (-10.79 to -9.51 points).\n"
             "First at 95 %, in epochs: cnn batch (1.3).\n");
  BOOST_TEST(findings(summarize({run_of("rnn", "layer", 1, {0.99})})) == "");
}

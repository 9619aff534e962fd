#pragma once
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "lab/study/statistics.h"
#include "lab/study/study.h"

namespace gradus::lab {

enum class Verdict { opposite, undecided, equivalent, shown_with_limits, shown, exact };
/// "shown with limits"
const char* name(Verdict verdict);

/// What is compared: the rows with these names.
struct Series {
  const char *part, *norm, *cell, *quantity;
};

/// Whether the row is of the series: an empty name there stands for any.
bool belongs(const Row& row, const Series& series);

/// A series' values of whole runs, by seed.
std::map<uint64_t, double> by_seed(const Rows& rows, const Series& series);

/// Whether an experiment's rows rest on a setting that was the last one tried, as its tuning found:
/// such a row has this quantity and 1.
constexpr const char* kAtEdge = "at edge";

/// How an estimate comes from an endpoint's series.
enum class Measure {
  log_ratio,   ///< log(a / b), paired by seed; where both have items, also for new items
  difference,  ///< a - b, paired by seed
  slope,       ///< of a over log2(x) within each seed, over all cells
  bound,       ///< the largest |a|: exact if below the margin
};

/// A primary endpoint: what was to be decided, written down before looking.
struct Endpoint {
  const char* name;
  int statement;  ///< 1 to 6
  const char* experiment;
  Measure measure;
  Series a, b;
  int sign;                ///< of the estimate, if the claim is true
  double margin;           ///< what is less than this does not matter
  const char* claim;       ///< what a sign beyond the margin says, in words
  const char* limits;      ///< under which conditions alone; null: none
  const char* not_tested;  ///< where it says nothing
  /// Of Measure::log_ratio: the cell whose loss each series' is taken over first, so that the ratio
  /// is one of ratios; null: none.
  const char* baseline = nullptr;
  /// What the sentence says beside the result, with its interval, and no test: the same measure,
  /// without a baseline, of these.
  struct Beside {
    const char* text = nullptr;
    Series a = {}, b = {};
  } beside = {};
  double times = 1;  ///< so many times the seeds that are asked for: see pilot.h
};

/// All of them: one family for Holm's correction, but for those of Measure::bound, which are no
/// tests.
const std::vector<Endpoint>& all_endpoints();

/// A comparison of series.
struct Measured {
  Estimate estimate = {};  ///< of Measure::bound: the largest value alone
  Components components = {};
  int64_t seeds = 0, items = 0;
};
/// What came out.
struct Finding : Measured {
  const Endpoint* endpoint = nullptr;
  double p = 1, adjusted_p = 1;
  bool at_edge = false;  ///< a setting that it rests on was the last of its grid: no verdict
  bool foreign = false;  ///< its learning rates were chosen on other data: no verdict
  Measured beside = {};
  Measured brier = {};  ///< the same comparison of Brier scores, where there are any; no test
  Verdict verdict = Verdict::undecided;
  std::string sentence = {};  ///< with scope, estimate and interval
};

/// "ratio 1.5 [1.2, 1.9]", "difference +3.1 [+1.2, +5] points": the interval of 95 %.
std::string measured(const Finding& finding);

/// An effect of this size, as the endpoint's margin is one: "ratio 1.1", "2 points".
std::string effect_of(const Endpoint& endpoint, double effect);

/// A quantity of rows: an item's squared error of the probabilities. Single items lead it less than
/// a loss, which has no bound.
constexpr const char* kBrier = "brier";

/// The seeds of a cell: those of the endpoints that name it, of context where none does.
std::vector<uint64_t> seeds_of_cell(const StudyOptions& options, std::string_view experiment,
                                    std::string_view part, std::string_view norm,
                                    std::string_view cell);

/// Of the endpoints whose experiment has rows. The family of Holm's correction is all of
/// all_endpoints(), whichever were run.
std::vector<Finding> judge(const std::vector<std::pair<std::string, Rows>>& experiments,
                           const StudyOptions& options = {});

/// A statement about the norms, and what it comes to: the weakest of its endpoints' verdicts.
struct Statement {
  int number;
  const char* text;
};
const std::vector<Statement>& all_statements();
/// What several endpoints come to together.
struct Together {
  Verdict verdict = Verdict::undecided;  ///< the weakest
  bool complete = true;                  ///< false where an endpoint's experiment was not run
  /// Which have which verdict, the weakest first: "undecided: groups; exact: axes"; where all have
  /// the same: "".
  std::string parts = {};
};
/// Of those of all_endpoints() that `counts` says.
Together together(const std::vector<Finding>& findings,
                  const std::function<bool(const Endpoint&)>& counts);

struct StatementVerdict : Together {
  const Statement* statement;
};
std::vector<StatementVerdict> judge_statements(const std::vector<Finding>& findings);

nlohmann::ordered_json to_json(const std::vector<Finding>& findings);

/// How many of all_endpoints() are tests: Holm's family.
int64_t family_size();
/// An adjusted p-value below which a result is no accident.
constexpr double kAlpha = 0.05;

}  // namespace gradus::lab

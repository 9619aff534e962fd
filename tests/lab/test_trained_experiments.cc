#define BOOST_TEST_MODULE trained_experiments
#include <algorithm>

#include "lab/study/verdicts.h"
#include "tests/checks.h"
#include "tests/lab/words.h"

using namespace gradus::lab;

namespace {

/// The rows of one seed, of the jobs that `wanted` says.
Rows rows_of(const Experiment& experiment, const std::function<bool(const std::string&)>& wanted) {
  std::vector<Job> jobs = experiment.jobs({.seeds = 1});
  std::erase_if(jobs, [&](const Job& job) { return !wanted(job.what); });
  return run_jobs(
      jobs, 2, [](size_t) {}, [] { return false; });
}

Rows rows_of(const char* name, const std::vector<std::string>& wanted) {
  const Experiment& experiment = find_experiment(name);
  const Rows rows = rows_of(experiment, [&](const std::string& what) {
    return std::find(wanted.begin(), wanted.end(), what) != wanted.end();
  });
  // What is missing is no error, nor is a single seed.
  BOOST_TEST(!experiment.findings(rows).empty());
  BOOST_TEST(!experiment.figures(rows).empty());
  gradus::test::check_words(experiment, rows);
  return rows;
}

bool has(const Rows& rows, const Series& series) { return !by_seed(rows, series).empty(); }

/// Every primary endpoint of the experiment finds its rows.
void check_endpoints(const char* experiment, const Rows& rows) {
  for (const Endpoint& endpoint : all_endpoints()) {
    if (endpoint.experiment != std::string(experiment)) continue;
    BOOST_TEST_CONTEXT(endpoint.name) {
      if (*endpoint.a.cell) BOOST_TEST(has(rows, endpoint.a));
      if (endpoint.b.part) BOOST_TEST(has(rows, endpoint.b));
      if (endpoint.baseline)
        for (const Series& s : {endpoint.a, endpoint.b})
          BOOST_TEST(has(rows, {s.part, s.norm, endpoint.baseline, s.quantity}));
      for (const Series& s : {endpoint.beside.a, endpoint.beside.b})
        if (s.part && *s.cell) BOOST_TEST(has(rows, s));
    }
  }
}

int64_t has_items(const Rows& rows, const Series& series) {
  return std::count_if(rows.begin(), rows.end(),
                       [&](const Row& row) { return row.item >= 0 && belongs(row, series); });
}

double value(const Rows& rows, const Series& series) {
  const auto values = by_seed(rows, series);
  BOOST_TEST_REQUIRE(values.size() == 1);
  return values.begin()->second;
}

}  // namespace

BOOST_AUTO_TEST_CASE(train_inference) {
  const Rows rows = rows_of("train-inference", {"cnn batch", "cnn layer", "folding"});
  check_endpoints("train-inference", rows);
  BOOST_TEST(value(rows, {"cnn", "layer", "all", "mode difference"}) == 0);
  BOOST_TEST(value(rows, {"cnn", "batch", "all", "mode difference"}) > 1e-3);
  BOOST_TEST(value(rows, {"plain cnn", "batch", "folded", "relative difference"}) < 1e-5);
  for (const char* norm : {"batch", "layer"})
    BOOST_TEST(value(rows, {"cnn", norm, "alone", "relative difference"}) < 1e-5);
  // Running statistics do not ask how large the batch is or how it is sorted.
  for (const char* cell : {"pairs", "sorted"})
    BOOST_TEST(value(rows, {"cnn", "batch", cell, "accuracy running"}) ==
               value(rows, {"cnn", "batch", "same", "accuracy running"}));
}

BOOST_AUTO_TEST_CASE(statistics_batch) {
  const Rows rows = rows_of("statistics-batch", {"mlp batch g=2", "mlp layer any"});
  BOOST_TEST(has(rows, {"mlp", "batch", "g=2", "loss"}));
  BOOST_TEST(has(rows, {"mlp", "batch", "g=2", "loss population"}));
  // With two samples a statistic it is training that fails.
  BOOST_TEST(value(rows, {"mlp", "batch", "g=2", "training loss batch"}) >
             10 * value(rows, {"mlp", "layer", "any", "training loss"}));
  BOOST_TEST(has(rows, {"mlp", "batch", "g=2", "loss batch"}));
  BOOST_TEST(value(rows, {"mlp", "layer", "any", "accuracy"}) > 0.9);
}

BOOST_AUTO_TEST_CASE(speed) {
  const Rows rows =
      rows_of("speed", {"sigmoid batch best", "sigmoid none best", "rates batch", "rates none",
                        "noise batch best", "sigmoid batch ninth of none's rate",
                        "sigmoid none ninth of none's rate"});
  check_endpoints("speed", rows);
  for (const char* norm : {"batch", "none"}) {
    double reaching = 0;
    for (const Row& row : rows)
      if (row.norm == norm && row.cell.starts_with("rate ") && row.quantity == "reached")
        reaching += row.value;
    BOOST_TEST(value(rows, {"sigmoid", norm, "all", "rates"}) == reaching);
    BOOST_TEST(value(rows, {"sigmoid", norm, "best", "reached"}) == 1);
  }
}

BOOST_AUTO_TEST_CASE(regularization) {
  const Rows rows = rows_of(
      "regularization",
      {"wrong labels batch best", "wrong labels none best", "wrong labels none at edge",
       "200 images batch best", "200 images none best", "wrong labels batch g=4",
       "wrong labels fixed batch g=4 rate=0.003", "wrong labels fixed batch g=64 rate=0.003"});
  check_endpoints("regularization", rows);
  BOOST_TEST(has(rows, {"wrong labels", "batch", "g=4", "accuracy"}));
  BOOST_TEST(has(rows, {"wrong labels fixed", "batch", "g=4 rate=0.003", "accuracy"}));
  // The slope is over those that have an x: the groups, and not what was chosen for each norm.
  for (const Row& row : rows) {
    BOOST_TEST((row.x > 0) == row.cell.starts_with("g="));
    if (row.quantity == "accuracy") BOOST_TEST(row.value > 0.7);
  }
}

BOOST_AUTO_TEST_CASE(lengths) {
  const Rows rows = rows_of("lengths", {"rnn batch", "rnn batch per step", "rnn layer", "rnn none",
                                        "transformer batch", "transformer layer"});
  check_endpoints("lengths", rows);
  for (const char* norm : {"batch", "layer"}) {
    BOOST_TEST(value(rows, {"transformer", norm, "first 10", "accuracy"}) > 0.9);
    int64_t items = 0;
    for (const Row& row : rows)
      items +=
          row.item >= 0 && row.norm == norm && row.part == "transformer" && row.quantity == "loss";
    BOOST_TEST(has_items(rows, {"transformer", norm, "whole", kBrier}) == 201);
    BOOST_TEST(items == 2 * 201);  // test utterances of 15 frames and more, whole and begun
  }
}

BOOST_AUTO_TEST_CASE(batch_size) {
  const Rows rows =
      rows_of("batch-size", {"mlp batch B=2 updates x1", "mlp batch B=64 updates x1",
                             "mlp layer B=2 updates x1", "mlp layer B=64 updates x1"});
  for (const char* norm : {"batch", "layer"})
    BOOST_TEST(value(rows, {"mlp", norm, "B=64 updates x1", "accuracy"}) > 0.9);
  // x^ is 1 or -1 where two samples share a statistic.
  BOOST_TEST(value(rows, {"mlp", "batch", "B=2 updates x1", "loss"}) >
             2 * value(rows, {"mlp", "layer", "B=2 updates x1", "loss"}));
}

BOOST_AUTO_TEST_CASE(fluctuation) {
  const Rows rows = rows_of("fluctuation", {"cnn batch", "rnn batch per step"});
  BOOST_TEST(value(rows, {"cnn", "batch", "all", "accuracy"}) > 0.9);
  // Of 16 images of 8 x 8, and 16 sequences of 7 frames at least.
  BOOST_TEST(value(rows, {"cnn", "batch", "at 1", "values"}) == 16 * 64);
  BOOST_TEST(value(rows, {"rnn", "batch per step", "at 7", "values"}) == 16);
  BOOST_TEST(value(rows, {"rnn", "batch per step", "at 20", "values"}) < 8);
  // Of sequences drawn from many the mean has nearly the variance that independent ones give it.
  BOOST_TEST(value(rows, {"rnn", "batch per step", "at 1", "inflation"}) == 1,
             boost::test_tools::tolerance(0.25));
  BOOST_TEST(value(rows, {"rnn", "batch per step", "at 20", "mean moves"}) >
             value(rows, {"rnn", "batch per step", "at 7", "mean moves"}));
}

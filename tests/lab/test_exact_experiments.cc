#define BOOST_TEST_MODULE exact_experiments
#include <cmath>

#include "lab/study/figures.h"
#include "tests/checks.h"
#include "tests/lab/words.h"

using namespace gradus;
using namespace gradus::lab;

namespace {

/// What an experiment measures with so many seeds; its texts and figures are there.
Rows rows_of(const char* name, int64_t seeds) {
  const Experiment& experiment = find_experiment(name);
  const Rows rows = run_jobs(
      experiment.jobs({.seeds = seeds}), 1, [](size_t) {}, [] { return false; });
  test::check_words(experiment, rows);
  for (const Figure& figure : experiment.figures(rows)) {
    BOOST_TEST(figure.script.find("plot ") != std::string::npos);
    BOOST_TEST(figure.script.find("nan") == std::string::npos);
  }
  for (const char* text :
       {experiment.question, experiment.setup, experiment.rule, experiment.limits})
    BOOST_TEST(*text != '\0');
  return rows;
}

/// The largest of a series that has to be there.
double most(const Rows& rows, const Series& series) { return largest(values_of(rows, series)); }

/// The rows' claims of Measure::bound are exact, and no endpoint lacks its rows.
void endpoints_are_exact(const char* name, const Rows& rows) {
  for (const Finding& finding : judge({{name, rows}}))
    BOOST_TEST((finding.verdict == Verdict::exact), finding.sentence);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_norm_s_pattern_is_its_definition_s) {
  const Rows rows = rows_of("axes", 1);
  endpoints_are_exact("axes", rows);
  BOOST_TEST(most(rows, {"identities", "", "", ""}) < 1e-12);
  BOOST_TEST(most(rows, {"", "", "", "difference by hand"}) < 1e-6);
  for (const char* cell : {"D masked", "D unmasked"})
    for (const char* quantity : {"other samples", "later steps", "padding"})
      BOOST_TEST(most(rows, {"sequences", "layer", cell, quantity}) == 0);
  BOOST_TEST(most(rows, {"sequences", "batch", "N T masked", "later steps"}) > 0);
  BOOST_TEST(most(rows, {"sequences", "batch", "N T masked", "padding"}) == 0);
  BOOST_TEST(most(rows, {"sequences", "batch", "N T unmasked", "padding"}) > 0);
  BOOST_TEST(most(rows, {"sequences", "batch per step", "N masked", "later steps"}) == 0);
}

BOOST_AUTO_TEST_CASE(micro_batches_give_the_gradient_with_layer_norm_alone) {
  const Rows rows = rows_of("microbatch", 1);
  endpoints_are_exact("microbatch", rows);
  for (const char* norm : {"none", "layer", "layer_channel"})
    BOOST_TEST(most(rows, {"cnn", norm, "all", "relative difference"}) < 1e-5);
  BOOST_TEST(most(rows, {"mlp", "batch", "m=2", "cosine"}) < 0.3);
  BOOST_TEST(values_of(rows, {"mlp", "batch", "m=1", "cosine"}).empty());
}

BOOST_AUTO_TEST_CASE(companions_move_batch_norm_s_outputs_alone) {
  const Rows rows = rows_of("companions", 1);
  endpoints_are_exact("companions", rows);
  for (const char* net : {"rnn", "transformer", "mlp", "cnn"}) {
    BOOST_TEST(most(rows, {net, "batch", "others training", "moved"}) > 1e-2);
    BOOST_TEST(most(rows, {net, "batch", "others inference", "moved"}) < 1e-5);
  }
  BOOST_TEST(most(rows, {"norm alone", "batch", "padding masked", "moved"}) < 1e-5);
  BOOST_TEST(most(rows, {"norm alone", "batch", "padding unmasked", "moved"}) > 1e-2);
  BOOST_TEST(most(rows, {"norm alone", "layer", "", "moved"}) < 1e-5);
}

BOOST_AUTO_TEST_CASE(signals_are_as_theory_says) {
  const Rows rows = rows_of("signal", 2);
  for (const char* norm : {"batch", "layer"})
    for (const char* quantity : {"f(10 w) - f(w)", "growth of the norm against theory"})
      BOOST_TEST(most(rows, {"scale", norm, "all", quantity}) < 1e-5);
  BOOST_TEST(most(rows, {"scale", "none", "all", "f(10 w) - f(w)"}) > 1);
  BOOST_TEST(median(values_of(rows, {"growth linear", "batch", "B=8", "growth"})) > 1.1);
  BOOST_TEST(most(rows, {"cosine", "batch", "depth=32", "cosine"}) < 0.1);
  BOOST_TEST(most(rows, {"cosine", "layer", "depth=32", "cosine"}) > 0.9);
}

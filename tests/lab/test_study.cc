// The frame of the lab: rows and their files, jobs, tuning, what a folder may hold, verdicts.
#define BOOST_TEST_MODULE study
#include <fmt/format.h>
#include <gradus/base/error.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <regex>

#include "lab/study/csv.h"
#include "lab/study/pilot.h"
#include "lab/study/run_note.h"
#include "tests/checks.h"

namespace gradus {
// lab/study/pilot.csv, embedded by the build.
extern const unsigned char pilot_csv[];
extern const size_t pilot_csv_size;
}  // namespace gradus

using namespace gradus;
using namespace gradus::lab;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() : path(fs::temp_directory_path() / fmt::format("gradus-study-{}", ::getpid())) {
    fs::remove_all(path);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path path;
};

const auto never = [] { return false; };

/// Those of the program's own table; a test reads others.
const std::vector<std::string> own_notes = rates_notes();

std::string whole(const fs::path& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

const Endpoint& endpoint(std::string_view name) {
  for (const Endpoint& e : all_endpoints())
    if (e.name == name) return e;
  fail("no endpoint {}", name);
}

/// Rows of an endpoint of Measure::difference, whose differences are d.
Rows rows_of(const Endpoint& e, const std::vector<double>& d) {
  Rows rows;
  for (size_t s = 0; s < d.size(); ++s) {
    rows.push_back({e.a.part, e.a.norm, e.a.cell, 0, s + 1, -1, e.a.quantity, 0.5 + d[s]});
    rows.push_back({e.b.part, e.b.norm, e.b.cell, 0, s + 1, -1, e.b.quantity, 0.5});
  }
  return rows;
}

Finding found(const Endpoint& e, const Rows& rows) {
  for (const Finding& finding : judge({{e.experiment, rows}}))
    if (finding.endpoint == &e) return finding;
  fail("{} was not judged", e.name);
}

}  // namespace

BOOST_AUTO_TEST_CASE(rows_are_read_as_they_were_written) {
  const Rows rows = {{"cnn", "batch", "g=4", 4, 17, -1, "loss", 0.1},
                     {"rnn per step", "layer", "any", 0.1 + 0.2, 1, 359, "loss", HUGE_VAL}};
  const Rows read = from_csv("rows", to_csv(rows));
  BOOST_TEST(read.size() == 2);
  BOOST_TEST(read[1].x == 0.1 + 0.2);
  BOOST_TEST(read[1].item == 359);
  BOOST_TEST(read[1].value == HUGE_VAL);
  BOOST_TEST(read[0].cell == "g=4");
  BOOST_CHECK_EXCEPTION(from_csv("rows", "part\n"), Error, test::says("rows: its header"));
  const std::string broken = to_csv(rows).replace(to_csv(rows).find("0.1\n"), 3, "0,1");
  BOOST_CHECK_EXCEPTION(from_csv("rows", broken), Error, test::says("rows, line 2: 9 cells"));
}

BOOST_AUTO_TEST_CASE(an_empty_name_of_a_series_stands_for_any) {
  const Row row{"cnn", "batch", "g=4", 4, 1, -1, "loss", 0.1};
  BOOST_TEST(belongs(row, {"cnn", "batch", "g=4", "loss"}));
  BOOST_TEST(belongs(row, {"", "", "", ""}));
  for (const Series& any : {Series{"", "batch", "g=4", "loss"}, Series{"cnn", "", "g=4", "loss"},
                            Series{"cnn", "batch", "", "loss"}, Series{"cnn", "batch", "g=4", ""}})
    BOOST_TEST(belongs(row, any));
  for (const Series& other : {Series{"mlp", "", "", ""}, Series{"", "layer", "", ""},
                              Series{"", "", "g=2", ""}, Series{"", "", "", "accuracy"}})
    BOOST_TEST(!belongs(row, other));
}

BOOST_AUTO_TEST_CASE(rows_are_in_the_order_of_the_jobs) {
  std::vector<Job> jobs;
  for (int i = 0; i < 40; ++i)
    jobs.push_back({"", [i] { return Rows{{"", "", "", double(i), 0, -1, "", 0}}; }});
  for (int threads : {1, 3}) {
    std::atomic<size_t> done{0};
    const Rows rows = run_jobs(
        jobs, threads, [&](size_t) { ++done; }, never);
    BOOST_TEST(done == 40U);
    for (size_t i = 0; i < rows.size(); ++i) BOOST_TEST(rows[i].x == static_cast<double>(i));
  }
  jobs[7].run = []() -> Rows { fail("job {}", 7); };
  BOOST_CHECK_EXCEPTION(run_jobs(
                            jobs, 2, [](size_t) {}, never),
                        Error, test::says("job 7"));
}

BOOST_AUTO_TEST_CASE(tuning_goes_on_until_the_best_rate_is_inside) {
  // The least at lr = 2.43 = 0.01 * 3^5.
  const Tunable far{"p", "n", "c", 0.01, [](double lr, uint64_t seed) {
                      return std::exp(std::abs(std::log(lr / 2.43)) + (seed == 1 ? 0 : 1));
                    }};
  const TunedRate rate = tune("e", far, {1, 2});
  BOOST_TEST(rate.lr == 2.43, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(rate.loss == std::exp(0.5), boost::test_tools::tolerance(1e-12));
  BOOST_TEST(!rate.at_edge);
  const Tunable never_better{"p", "n", "c", 0.01, [](double lr, uint64_t) { return 1 / lr; }};
  BOOST_TEST(tune("e", never_better, {1}).at_edge);
  const Tunable diverges{"p", "n", "c", 0.01,
                         [](double lr, uint64_t) { return lr > 0.02 ? HUGE_VAL : 1 / lr; }};
  BOOST_TEST(tune("e", diverges, {1}).lr == 0.01);
  // A dip beside the first three rates is not missed.
  const Tunable dips{"p", "n", "c", 0.01, [](double lr, uint64_t) {
                       return lr > 0.08 && lr < 0.1 ? 0.1 : std::abs(std::log(lr / 0.01)) + 1;
                     }};
  BOOST_TEST(tune("e", dips, {1}).lr == 0.09, boost::test_tools::tolerance(1e-12));
  // One bad run of several does not lead, as in the mean: 0.09 has less in all others.
  const Tunable one_bad{"p", "n", "c", 0.09, [](double lr, uint64_t seed) {
                          const bool best = lr > 0.08 && lr < 0.1;
                          return best ? (seed == 1 ? 3 : 0.1) : std::abs(std::log(lr / 0.09));
                        }};
  BOOST_TEST(tune("e", one_bad, {1, 2, 3, 4}).lr == 0.09, boost::test_tools::tolerance(1e-12));
  // A run that diverged rules its rate out, however good the others are.
  const Tunable once_diverged{"p", "n", "c", 0.09, [](double lr, uint64_t seed) {
                                if (lr > 0.08 && lr < 0.1) return seed == 3 ? HUGE_VAL : 1e-9;
                                return std::abs(std::log(lr / 0.03)) + 1;
                              }};
  BOOST_TEST(tune("e", once_diverged, {1, 2, 3}).lr == 0.03, boost::test_tools::tolerance(1e-12));
}

// Expected: scipy.stats.ttest_1samp, and Holm's strictest step by hand.
BOOST_AUTO_TEST_CASE(verdicts_follow_the_rule) {
  const Endpoint& e = endpoint("contrast");  // +, margin 0.02
  BOOST_TEST(e.sign == 1);
  const Finding shown = found(e, rows_of(e, {0.30, 0.32, 0.31, 0.29, 0.33}));
  BOOST_TEST(shown.p == 1.6186001865392217e-06, boost::test_tools::tolerance(1e-9));
  BOOST_TEST(shown.adjusted_p == shown.p * static_cast<double>(family_size()));
  BOOST_TEST((shown.verdict == Verdict::shown_with_limits));
  const Finding opposite = found(e, rows_of(e, {-0.30, -0.32, -0.31, -0.29, -0.33}));
  BOOST_TEST((opposite.verdict == Verdict::opposite));
  const Finding small = found(e, rows_of(e, {0.010, 0.011, 0.009, 0.010, 0.010}));
  BOOST_TEST((small.verdict == Verdict::equivalent));
  const Finding wide = found(e, rows_of(e, {0.5, -0.2, 0.4, -0.3, 0.6}));
  BOOST_TEST((wide.verdict == Verdict::undecided));
  BOOST_TEST(wide.sentence.find("Undecided") == 0U, wide.sentence);
  BOOST_TEST((found(e, rows_of(e, {0.3})).verdict == Verdict::undecided));
}

// A run that diverged decides nothing, and leaves the other endpoints' p-values alone.
BOOST_AUTO_TEST_CASE(what_is_no_number_is_undecided) {
  const Endpoint &speed = endpoint("speed"), &rates = endpoint("rates");
  const auto with = [&](double last) {
    Rows rows = rows_of(rates, {5.0, 5.2, 5.1, 4.9, 5.3});
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      rows.push_back({speed.a.part, speed.a.norm, speed.a.cell, 0, seed, -1, speed.a.quantity,
                      seed == 5 ? last : 30});
      rows.push_back({speed.b.part, speed.b.norm, speed.b.cell, 0, seed, -1, speed.b.quantity,
                      300 + static_cast<double>(seed)});
    }
    return rows;
  };
  for (double last : {std::nan(""), HUGE_VAL}) {
    BOOST_TEST((found(speed, with(last)).verdict == Verdict::undecided));
    BOOST_TEST(found(rates, with(last)).adjusted_p ==
               found(rates, with(30)).p * static_cast<double>(family_size()));
  }
}

// Doublings from 1 to 4 that lose 0.1 each; a seed with one group has no slope.
BOOST_AUTO_TEST_CASE(slopes_are_by_doubling) {
  const Endpoint& e = endpoint("groups");
  Rows rows;
  for (uint64_t seed : {1, 2, 3})
    for (double g : {1.0, 2.0, 4.0})
      rows.push_back({e.a.part, e.a.norm, "", g, seed, -1, e.a.quantity,
                      1 - 0.1 * std::log2(g) + 0.01 * static_cast<double>(seed)});
  rows.push_back({e.a.part, e.a.norm, "", 4, 9, -1, e.a.quantity, 0.5});
  const Finding finding = found(e, rows);
  BOOST_TEST(finding.seeds == 3);
  BOOST_TEST(finding.estimate.mean == -0.1, boost::test_tools::tolerance(1e-12));
  BOOST_TEST((finding.verdict == Verdict::shown_with_limits));
}

// By hand: each loss's share of its mean is 1, so that items add nothing, and ln 2 is left of the
// ratio 3/1 over 3/2; a seed without a baseline does not count.
BOOST_AUTO_TEST_CASE(what_length_adds_is_a_ratio_of_ratios) {
  const Endpoint& e = endpoint("lengths-rnn");
  Rows rows;
  const auto add = [&](const Series& s, const char* cell, uint64_t seed, double value) {
    for (int64_t item : {-1, 0, 1, 2})
      rows.push_back({s.part, s.norm, cell, 0, seed, item, s.quantity, value});
  };
  for (uint64_t seed : {1, 2, 3}) {
    add(e.a, "whole", seed, 3);
    add(e.b, "whole", seed, 1);
    if (seed == 3) continue;
    add(e.a, "first 10", seed, 3);
    add(e.b, "first 10", seed, 2);
  }
  const Finding finding = found(e, rows);
  BOOST_TEST(finding.seeds == 2);
  BOOST_TEST(finding.items == 3);
  BOOST_TEST(finding.estimate.mean == std::log(2), boost::test_tools::tolerance(1e-12));
  BOOST_TEST(finding.beside.seeds == 3);
  BOOST_TEST(finding.beside.estimate.mean == std::log(3), boost::test_tools::tolerance(1e-12));
  BOOST_TEST(finding.sentence.find("ratio 3 [3, 3]") != std::string::npos, finding.sentence);
}

BOOST_AUTO_TEST_CASE(the_last_setting_that_was_tried_decides_nothing) {
  const Endpoint& e = endpoint("best-none");
  Rows rows = rows_of(e, {0.30, 0.32, 0.31, 0.29, 0.33});
  BOOST_TEST((found(e, rows).verdict == Verdict::shown_with_limits));
  rows.push_back({e.b.part, e.b.norm, e.b.cell, 0, 1, -1, kAtEdge, 1});
  BOOST_TEST((found(e, rows).verdict == Verdict::undecided));
  BOOST_TEST(found(e, rows).sentence.find("No verdict") != std::string::npos);
}

// What --tune wrote stands in the place of the program's rates; of other images nothing is decided.
BOOST_AUTO_TEST_CASE(rates_of_other_data_decide_nothing) {
  const Folder folder;
  fs::create_directories(folder.path);
  const std::string own = (folder.path / "own.csv").string(), others = folder.path / "others.csv",
                    part = folder.path / "part.csv";
  std::string table = std::string(kRatesHeader) + "\n", first = table;
  for (const TunedRate& r : tuned_rates()) {
    table += fmt::format("{},{},{},{},{},{},0,{}\n", r.experiment, r.part, r.norm, r.cell, r.lr,
                         r.loss, r.data);
    if (first.size() == std::string(kRatesHeader).size() + 1) first = table;
  }
  std::ofstream(own) << table;
  for (size_t at; (at = table.find(",digits\n")) != table.npos;) table.replace(at, 8, ",idx-1\n");
  std::ofstream(others) << table;
  std::ofstream(part) << first;
  const uint32_t before = tuned_rates_checksum();
  BOOST_CHECK_EXCEPTION(read_tuned_rates(part), Error, test::says("part.csv: there is no rate of"));
  BOOST_CHECK_EXCEPTION(read_tuned_rates("nowhere"), Error,
                        test::says("nowhere: cannot be opened"));
  BOOST_TEST(tuned_rates_checksum() == before);
  const Endpoint &images = endpoint("contrast"), &sequences = endpoint("lengths-rnn");
  const auto verdict = [&] {
    return found(images, rows_of(images, {0.30, 0.32, 0.31, 0.29, 0.33})).verdict;
  };
  read_tuned_rates(others);
  BOOST_TEST((verdict() == Verdict::undecided));
  BOOST_TEST(found(images, rows_of(images, {0.3, 0.32})).sentence.find("another data set") !=
             std::string::npos);
  BOOST_TEST(!found(sequences, {}).foreign);
  read_tuned_rates(own);
  BOOST_TEST((verdict() == Verdict::shown_with_limits));
}

// Every test has its line of the pilot; more seeds than are asked for has who needs them.
BOOST_AUTO_TEST_CASE(seeds_follow_from_the_pilot) {
  BOOST_TEST(static_cast<int64_t>(pilot().size()) == family_size());
  for (const Piloted& p : pilot()) {
    const Endpoint& e = endpoint(p.endpoint);
    BOOST_TEST_CONTEXT(e.name) {
      const Plan plan = plan_of(e, p, {});
      BOOST_TEST(p.seeds == kPilotSeeds);
      BOOST_TEST(plan.effect >= 2 * e.margin);
      BOOST_TEST(static_cast<double>(plan.seeds) == 10 * e.times);
      if (plan.needed > 0) BOOST_TEST((plan.power >= kPower) == (plan.seeds >= plan.needed));
      BOOST_TEST((plan.power >= kPower) == (plan.seen <= plan.effect));
      const double alpha = kAlpha / static_cast<double>(family_size());
      BOOST_TEST(power(plan.seen, p.components, plan.seeds, p.items, alpha) == kPower,
                 boost::test_tools::tolerance(1e-6));
      if (e.times != 1) BOOST_TEST(plan.needed != 0);
      if (e.times > 1) BOOST_TEST(static_cast<double>(plan.needed) > 10 * (e.times - 1));
      if (e.times < 1) BOOST_TEST(plan.needed <= plan.seeds);
      // The estimate is that of its components, but where one of them was less than 0.
      const Estimate again = expected(p.estimate.mean, p.components, p.seeds, p.items);
      BOOST_TEST(again.standard_error >= 0.999 * p.estimate.standard_error);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_cell_has_the_seeds_of_its_endpoints) {
  const auto seeds = [](const StudyOptions& options, const char* part, const char* norm,
                        const char* cell) {
    return seeds_of_cell(options, "statistics-batch", part, norm, cell).size();
  };
  BOOST_TEST(seeds({}, "transformer", "batch", "g=2") == 10U);
  BOOST_TEST(seeds({}, "transformer", "layer", "any") == 20U);
  BOOST_TEST(seeds({}, "transformer", "batch", "g=8") == 5U);
  BOOST_TEST(seeds({.multiples = false}, "transformer", "layer", "any") == 10U);
  BOOST_TEST(seeds({.seeds = 1}, "transformer", "batch", "g=2") == 1U);
  // What is told beside an endpoint has the endpoint's seeds.
  BOOST_TEST(seeds({}, "cnn", "none", "any") == 10U);
  BOOST_TEST(seeds_of_cell({}, "speed", "sigmoid", "none", "ninth of none's rate").size() == 5U);
}

// Of experiments that were not run it keeps what is there.
BOOST_AUTO_TEST_CASE(a_pilot_has_seeds_of_its_own) {
  const Folder folder;
  run_pilot(
      {.study = {.first_seed = 5},
       .names = {"axes"},
       .results = {.output = folder.path, .threads = 1}},
      [](const auto&) {}, never);
  BOOST_TEST(whole(folder.path / "pilot.csv") ==
             std::string(reinterpret_cast<const char*>(pilot_csv), pilot_csv_size));
  const Rows rows = from_csv("axes", whole(folder.path / "axes.csv"));
  BOOST_TEST(!rows.empty());
  BOOST_TEST(whole(folder.path / "study.json").find("\"first_seed\": 2000001") !=
             std::string::npos);
}

// On what a table was computed stands above it, and is no part of what tells tables apart.
BOOST_AUTO_TEST_CASE(tables_have_notes) {
  const std::string text = "# a\n# b, c\nx,y\n1,2\n3\n";
  const NotedTable noted = split_notes(text);
  BOOST_TEST(noted.notes == (std::vector<std::string>{"a", "b, c"}),
             boost::test_tools::per_element());
  BOOST_TEST(noted.table == "x,y\n1,2\n3\n");
  BOOST_TEST(join_notes(noted) == text);
  BOOST_TEST(split_notes("# only").notes.size() == 1U);
  BOOST_TEST(split_notes("").table.empty());
  size_t lines = 0;
  BOOST_CHECK_EXCEPTION(read_csv("table", text, "x,y", [&](const auto&, const auto&) { ++lines; }),
                        Error, test::says("table, line 5: 1 cells, not 2"));
  BOOST_TEST(lines == 1U);

  const std::regex told(
      "20[0-9]{2}-[0-9]{2}-[0-9]{2}.* s on [0-9]+ threads of [0-9]+ cores "
      "\\(.+\\).* s of processor time; gradus 0\\..*");
  for (const auto& notes : {own_notes, pilot_notes(), {RunNote().text("all", 2)}}) {
    BOOST_TEST(!notes.empty());
    for (const std::string& note : notes) BOOST_TEST(std::regex_match(note, told), note);
  }
  const Folder folder;
  fs::create_directories(folder.path);
  const std::string file = folder.path / "rates.csv";
  const auto read = [&](const std::vector<std::string>& notes) {
    std::string table = std::string(kRatesHeader) + "\n";
    for (const TunedRate& r : tuned_rates())
      table += fmt::format("{},{},{},{},{},{},{},{}\n", r.experiment, r.part, r.norm, r.cell, r.lr,
                           r.loss, r.at_edge ? 1 : 0, r.data);
    std::ofstream(file) << join_notes({notes, table});
    read_tuned_rates(file);
    return tuned_rates_checksum();
  };
  const uint32_t checksum = read({});
  BOOST_TEST(rates_notes().empty());
  BOOST_TEST(read({"of another day"}) == checksum);
  BOOST_TEST(rates_notes().size() == 1U);
}

BOOST_AUTO_TEST_CASE(exact_claims_are_bounds) {
  const Endpoint& e = endpoint("layer-modes");
  const auto with = [&](double value) {
    return found(e, {{e.a.part, e.a.norm, e.a.cell, 0, 1, -1, e.a.quantity, value}}).verdict;
  };
  BOOST_TEST((with(-1e-6) == Verdict::exact));
  BOOST_TEST((with(1e-3) == Verdict::opposite));
  BOOST_TEST((with(std::nan("")) == Verdict::opposite));
  BOOST_TEST((found(e, {}).verdict == Verdict::undecided));
}

BOOST_AUTO_TEST_CASE(a_statement_is_as_strong_as_its_weakest_endpoint) {
  const Endpoint &modes = endpoint("layer-modes"), &contrast = endpoint("contrast"),
                 &one_image = endpoint("cnn-1");
  Rows rows = rows_of(contrast, {0.30, 0.32, 0.31, 0.29, 0.33});
  rows.push_back({modes.a.part, modes.a.norm, modes.a.cell, 0, 1, -1, modes.a.quantity, 0});
  for (const StatementVerdict& v : judge_statements(
           judge({{modes.experiment, rows},
                  {one_image.experiment, rows_of(one_image, {1.2, 1.3, 1.1, 1.4, 1.2})}}))) {
    if (v.statement->number == 3) BOOST_TEST((v.verdict == Verdict::shown_with_limits));
    BOOST_TEST(v.complete == (v.statement->number == 3), v.statement->number);
    if (v.statement->number == 3)
      BOOST_TEST(v.parts == "shown with limits: cnn-1, contrast; exact: layer-modes");
  }
}

BOOST_AUTO_TEST_CASE(a_folder_holds_results_of_one_kind) {
  const Folder folder;
  LabOptions options{
      .study = {.seeds = 1}, .names = {"axes"}, .results = {.output = folder.path, .threads = 1}};
  std::vector<bool> kept;
  const auto note = [&](const LabProgress& p) { kept.push_back(p.kept); };
  run_lab(options, note, never);
  const std::string before = whole(folder.path / "axes.csv");
  BOOST_TEST(!kept.front());
  kept.clear();
  run_lab(options, note, never);
  BOOST_TEST(kept.front());
  options.study.seeds = 2;
  BOOST_CHECK_EXCEPTION(run_lab(options, note, never), Error, test::says("nothing is mixed"));
  BOOST_TEST(whole(folder.path / "axes.csv") == before);
  options.study.seeds = 1;
  options.results.fresh = true;
  std::ofstream(folder.path / "report.html") << "of earlier results";
  options.results.threads = 2;
  run_lab(options, note, never);
  BOOST_TEST(whole(folder.path / "axes.csv") == before);
  BOOST_TEST(!fs::exists(folder.path / "report.html"));
}

BOOST_AUTO_TEST_CASE(wrong_options_are_told) {
  const Folder folder;
  const auto with = [&](const LabOptions& options) {
    run_lab(
        options, [](const auto&) {}, never);
  };
  BOOST_CHECK_EXCEPTION(with({.names = {"axis"}, .results = {.output = folder.path}}), Error,
                        test::says("no experiment 'axis'; the nearest first: axes"));
  BOOST_CHECK_EXCEPTION(
      with({.study = {.seeds = 0}, .names = {"axes"}, .results = {.output = folder.path}}), Error,
      test::says("0 seeds"));
  BOOST_CHECK_EXCEPTION(with({.names = {"axes"}, .results = {.output = "/proc/none"}}), Error,
                        test::says("cannot be written to"));
  BOOST_TEST(!fs::exists(folder.path));
}

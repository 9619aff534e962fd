#include "lab/study/study.h"

#include <fmt/ranges.h>
#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "lab/checksum.h"
#include "lab/study/csv.h"

namespace gradus {
// lab/study/rates.csv, embedded by the build.
extern const unsigned char rates_csv[];
extern const size_t rates_csv_size;
}  // namespace gradus

namespace gradus::lab {

namespace {

constinit const ExperimentEntry* first_entry = nullptr;

/// Levenshtein's distance.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::vector<uint64_t> seeds_from(uint64_t first, int64_t count) {
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < count; ++i) seeds.push_back(first + static_cast<uint64_t>(i));
  return seeds;
}

constexpr const char* kHeader = "part,norm,cell,x,seed,item,quantity,value";

}  // namespace

std::vector<uint64_t> StudyOptions::all_seeds(double times) const {
  const auto wanted = static_cast<int64_t>(std::ceil(times * static_cast<double>(seeds)));
  return seeds_from(first_seed, multiples ? std::max(wanted, std::min<int64_t>(2, seeds)) : seeds);
}
std::vector<uint64_t> StudyOptions::context_seeds() const {
  return seeds_from(first_seed, (seeds + 1) / 2);
}

bool reads_images(const Experiment& experiment, std::string_view part) {
  return experiment.on_images && part != "rnn" && part != "transformer";
}

ExperimentEntry::ExperimentEntry(int place_in_list, Experiment what)
    : place(place_in_list), experiment(std::move(what)), next(first_entry) {
  first_entry = this;
}

std::vector<const Experiment*> all_experiments() {
  std::map<int, const Experiment*> sorted;
  for (const ExperimentEntry* entry = first_entry; entry; entry = entry->next)
    sorted[entry->place] = &entry->experiment;
  std::vector<const Experiment*> experiments;
  for (const auto& [place, experiment] : sorted) experiments.push_back(experiment);
  return experiments;
}

const Experiment& find_experiment(std::string_view name) {
  std::vector<const Experiment*> all = all_experiments();
  for (const Experiment* experiment : all)
    if (experiment->name == name) return *experiment;
  std::stable_sort(all.begin(), all.end(), [&](const Experiment* a, const Experiment* b) {
    return distance(a->name, name) < distance(b->name, name);
  });
  std::vector<std::string_view> names;
  for (const Experiment* experiment : all) names.emplace_back(experiment->name);
  fail("lab: there is no experiment '{}'; the nearest first: {}", name, fmt::join(names, ", "));
}

namespace {

struct RateTable {
  std::vector<TunedRate> rates;
  std::vector<std::string> notes;
  uint32_t checksum;
};

RateTable rate_table_of(const std::string& what, const std::string& text) {
  const NotedTable noted = split_notes(text);
  RateTable table{{}, noted.notes, fnv1a(noted.table)};
  read_csv(
      what, text, kRatesHeader,
      [&](const std::string& where, const std::vector<std::string_view>& c) {
        table.rates.push_back({std::string(c[0]), std::string(c[1]), std::string(c[2]),
                               std::string(c[3]), csv_number(where, c[4]), csv_number(where, c[5]),
                               csv_number(where, c[6]) != 0, std::string(c[7])});
        const double rate = table.rates.back().lr;
        check(rate > 0 && std::isfinite(rate), "{}: a learning rate of {}", where, rate);
      });
  return table;
}

RateTable& rate_table() {
  static RateTable table = rate_table_of(
      "rates.csv", std::string(reinterpret_cast<const char*>(rates_csv), rates_csv_size));
  return table;
}

bool same_cell(const TunedRate& a, const TunedRate& b) {
  return a.experiment == b.experiment && a.part == b.part && a.norm == b.norm && a.cell == b.cell;
}

}  // namespace

const std::vector<TunedRate>& tuned_rates() { return rate_table().rates; }
const std::vector<std::string>& rates_notes() { return rate_table().notes; }
uint32_t tuned_rates_checksum() { return rate_table().checksum; }

void read_tuned_rates(const std::string& file) {
  RateTable table = rate_table_of(file, read_file(file));
  for (const TunedRate& own : rate_table().rates)
    check(std::any_of(table.rates.begin(), table.rates.end(),
                      [&](const TunedRate& rate) { return same_cell(rate, own); }),
          "{}: there is no rate of {}, {}, {}, {}; `gradus lab --tune` writes them all", file,
          own.experiment, own.part, own.norm, own.cell);
  rate_table() = std::move(table);
}

const TunedRate& tuned_rate(std::string_view experiment, std::string_view part,
                            std::string_view norm, std::string_view cell) {
  for (const TunedRate& rate : tuned_rates())
    if (rate.experiment == experiment && rate.part == part && rate.norm == norm &&
        rate.cell == cell)
      return rate;
  fail("lab: no rate was tuned for {}, {}, {}, {}; `gradus lab --tune` does", experiment, part,
       norm, cell);
}

namespace {

/// The mean of the logarithms of the first `count` losses.
double mean_log(const std::vector<double>& losses, size_t count) {
  double sum = 0;
  for (size_t s = 0; s < count; ++s) sum += std::log(losses[s]);
  return sum / static_cast<double>(count);
}

/// A rate's losses: fewer than seeds where one diverged, or where it is given up, for half of the
/// seeds make it more than twice as bad as the best so far.
struct Tried {
  std::vector<double> losses;
  double score;  // the mean logarithm, infinite where a run diverged
};

Tried try_rate(const Tunable& tunable, double lr, const std::vector<uint64_t>& seeds,
               const Tried* best) {
  Tried tried{{}, HUGE_VAL};
  for (const uint64_t seed : seeds) {
    tried.losses.push_back(tunable.loss(lr, seed));
    if (!std::isfinite(tried.losses.back())) return tried;
    const size_t count = tried.losses.size();
    if (best && 2 * count == seeds.size() && std::isfinite(best->score) &&
        mean_log(tried.losses, count) > mean_log(best->losses, count) + std::log(2))
      break;
  }
  tried.score = mean_log(tried.losses, tried.losses.size());
  return tried;
}

}  // namespace

TunedRate tune(std::string_view experiment, const Tunable& tunable,
               const std::vector<uint64_t>& seeds, int most) {
  std::map<int, Tried> rates;  // at first * 3^k
  int best = 0;
  const auto rate_at = [&](int k) { return tunable.first * std::pow(3.0, k); };
  const auto try_at = [&](int k) {
    const auto before = rates.find(best);
    rates[k] =
        try_rate(tunable, rate_at(k), seeds, before == rates.end() ? nullptr : &before->second);
    // What was given up has not been best, and is not when the one that it was compared with is.
    if (before == rates.end() ||
        (rates[k].losses.size() == seeds.size() && rates[k].score < rates[best].score))
      best = k;
  };
  for (int k : {0, -1, 1}) try_at(k);
  while (true) {
    const int lowest = rates.begin()->first, highest = rates.rbegin()->first;
    const bool below = best - lowest >= kWorseRates, above = highest - best >= kWorseRates;
    if ((below && above) || static_cast<int>(rates.size()) >= most) break;
    try_at(below ? highest + 1 : lowest - 1);
  }
  const double score = rates[best].score;
  return {std::string(experiment),
          tunable.part,
          tunable.norm,
          tunable.cell,
          rate_at(best),
          std::exp(score),
          best == rates.begin()->first || best == rates.rbegin()->first || score == HUGE_VAL,
          ""};
}

Rows run_jobs(const std::vector<Job>& jobs, int threads, const std::function<void(size_t)>& done,
              const std::function<bool()>& stop) {
  // Jobs share the cores; within one, an operation has one thread.
  struct OneThread {
    OneThread() { set_threads(1); }
    ~OneThread() { set_threads(before); }
    int before = gradus::threads();
  } const one_thread;
  std::vector<Rows> results(jobs.size());
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (size_t i; !stop() && (i = next++) < jobs.size();) {
      try {
        results[i] = jobs[i].run();
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next = jobs.size();
        return;
      }
      const std::lock_guard lock(mutex);
      done(i);
    }
  };
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t < threads; ++t) workers.emplace_back(work);
  }
  if (failure) std::rethrow_exception(failure);
  Rows rows;
  if (stop()) return rows;
  for (Rows& result : results) rows.insert(rows.end(), result.begin(), result.end());
  return rows;
}

std::string to_csv(const Rows& rows) {
  std::string text = std::string(kHeader) + "\n";
  for (const Row& row : rows)
    text += fmt::format("{},{},{},{},{},{},{},{}\n", row.part, row.norm, row.cell, row.x, row.seed,
                        row.item, row.quantity, row.value);
  return text;
}

Rows from_csv(const std::string& what, const std::string& text) {
  Rows rows;
  read_csv(what, text, kHeader,
           [&](const std::string& where, const std::vector<std::string_view>& c) {
             rows.push_back({std::string(c[0]), std::string(c[1]), std::string(c[2]),
                             csv_number(where, c[3]), csv_number<uint64_t>(where, c[4]),
                             csv_number<int64_t>(where, c[5]), std::string(c[6]),
                             csv_number(where, c[7])});
           });
  return rows;
}

}  // namespace gradus::lab

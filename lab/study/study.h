#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::lab {

/// A number that an experiment measured: a line of its CSV.
struct Row {
  std::string part;      ///< what was looked at: "cnn", "rnn per step"
  std::string norm;      ///< with which norm: "none", "batch", ...
  std::string cell;      ///< under which condition: "g=4"
  double x = 0;          ///< the condition as a number, where it is one: 4
  uint64_t seed = 0;     ///< of which run; 0: there is none
  int64_t item = -1;     ///< of which test item; -1: of all
  std::string quantity;  ///< what: "loss", "accuracy"
  double value = 0;      ///< how much
};

using Rows = std::vector<Row>;

/// What was asked of all experiments; each enters their numbers.
struct StudyOptions {
  int64_t seeds = 10;           ///< of primary endpoints, or a multiple; of context half of them
  uint64_t first_seed = 5001;   ///< smaller ones were seen while the rules were made
  std::string data = "digits";  ///< of the image experiments: or a folder of IDX files
  /// Whether endpoints have the multiple or the part of the seeds that they need; not so in the
  /// pilot that tells.
  bool multiples = true;
  /// So many times `seeds`, with `multiples`; two at least where there are two.
  std::vector<uint64_t> all_seeds(double times = 1) const;
  std::vector<uint64_t> context_seeds() const;
};

/// A piece of an experiment that is computed by itself, on one thread.
struct Job {
  std::string what;  ///< for the progress
  std::function<Rows()> run;
};

/// A training setting whose learning rate is chosen on validation data.
struct Tunable {
  std::string part, norm, cell;
  double first = 1e-2;  ///< where the search begins
  /// The validation loss at this rate, above 0; infinite where training diverged.
  std::function<double(double lr, uint64_t seed)> loss;
};

/// A picture of an experiment's rows.
struct Figure {
  std::string name;     ///< of its file
  std::string caption;  ///< what is seen, with the numbers that matter: also for who cannot see
  std::string script;   ///< for gnuplot, after the page's settings; plots, and sets no terminal
  int width = 720, height = 400;
};

/// A place in a paper on which something rests.
struct Citation {
  const char* paper;  ///< by its key in references(): "Wu & He 2018"; null: none
  const char* where;  ///< "section 4.1"
  const char* what;   ///< stands there
};

/// An experiment. Its text says beforehand what is asked and how it is judged; the page prints it.
struct Experiment {
  const char* name;
  std::vector<int> statements;  ///< which it is for
  const char* question;
  const char* setup;   ///< data, models, training, what differs
  const char* rule;    ///< what was decided before looking: endpoint, margin, test, conditions
  const char* limits;  ///< what it cannot show
  std::vector<Citation> sources;
  double seconds;  ///< on two cores, about
  bool on_images;  ///< whether --data changes it
  std::vector<Job> (*jobs)(const StudyOptions& options);
  std::vector<Figure> (*figures)(const Rows& rows);
  /// What was measured beside the endpoints, in sentences with numbers and intervals.
  std::vector<std::string> (*findings)(const Rows& rows);
  std::vector<Tunable> (*tunables)(const StudyOptions& options) = nullptr;
  /// Why images of a folder do not fit; empty where they do.
  std::string (*misfit)(const StudyOptions& options) = nullptr;
};

/// Enters an experiment in the list, at namespace scope of its own file; `place` orders it.
struct ExperimentEntry {
  ExperimentEntry(int place_in_list, Experiment what);
  ExperimentEntry(const ExperimentEntry&) = delete;
  ExperimentEntry& operator=(const ExperimentEntry&) = delete;
  int place;
  Experiment experiment;
  const ExperimentEntry* next;
};

/// Whether --data changes a part of the experiment's rows; those of sequences it does not.
bool reads_images(const Experiment& experiment, std::string_view part);

/// In the order of their places.
std::vector<const Experiment*> all_experiments();
/// Another name is an error that lists the names, the nearest first.
const Experiment& find_experiment(std::string_view name);

/// The first line of a table of rates.
constexpr const char* kRatesHeader = "experiment,part,norm,cell,lr,loss,at_edge,data";
/// A rate that --tune chose.
struct TunedRate {
  std::string experiment, part, norm, cell;
  double lr, loss;       ///< the rate, and the geometric mean of its validation losses
  bool at_edge = false;  ///< whether the grid ended there
  std::string data;      ///< on what: see rates_data()
};
/// lab/study/rates.csv, which is part of the program, unless read_tuned_rates() came first.
const std::vector<TunedRate>& tuned_rates();
/// Puts a file of `gradus lab --tune` in their place, for all that follows. Errors: no such table,
/// or a cell of the program's is missing.
void read_tuned_rates(const std::string& file);
/// When and on what they were chosen: the notes above the table.
const std::vector<std::string>& rates_notes();
/// Tells tables apart, but for notes: results belong to the rates that they were computed with.
uint32_t tuned_rates_checksum();
/// An error if there is none of that cell.
const TunedRate& tuned_rate(std::string_view experiment, std::string_view part,
                            std::string_view norm, std::string_view cell);
/// So many rates on both sides of the best have to be worse.
constexpr int kWorseRates = 2;
/// Searches factor by factor of 3 from `first`, both ways, until the best of the rates has
/// kWorseRates worse ones on both sides; `most` rates at most. The best has the least mean of the
/// logarithms of the losses, which single runs lead less than the mean of the losses; a rate at
/// which a run diverged is worse than all at which none did. One that is more than twice as bad as
/// the best so far by half of the seeds is not tried with the others.
TunedRate tune(std::string_view experiment, const Tunable& tunable,
               const std::vector<uint64_t>& seeds, int most = 14);

/// Runs the jobs on so many threads; rows are in the order of the jobs whatever ends first. After
/// each job `done(index)` is called, by one thread at a time. Where `stop` says so, the jobs that
/// run are finished and the result is empty.
Rows run_jobs(const std::vector<Job>& jobs, int threads, const std::function<void(size_t)>& done,
              const std::function<bool()>& stop);

/// With a header line, in the rows' order, numbers so that they are read back as they were.
std::string to_csv(const Rows& rows);
/// The inverse; an error that names the line.
Rows from_csv(const std::string& what, const std::string& text);

}  // namespace gradus::lab

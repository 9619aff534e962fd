// What a comparison takes from a checkpoint is what one wrote, or an error before anything is run.
#define BOOST_TEST_MODULE compare
#include <gradus/tensor/tensor_file.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "lab/compare.h"
#include "tests/checks.h"

using namespace gradus;
using namespace gradus::lab;
namespace fs = std::filesystem;

namespace {

constexpr size_t kHead = 4, kEpoch = 5;  // numbers of a run, and of each of its epochs

struct Unfinished {
  CompareOptions options{.models = {"rnn"},
                         .norms = {"none", "batch"},
                         .seeds = 1,
                         .epochs = 2,
                         .batch_size = 128,
                         .data = "vowels"};
  std::string path =
      fs::temp_directory_path() / fmt::format("gradus-test-compare-{}.safetensors", ::getpid());
  int steps = 0;  // that were done

  Unfinished() {
    run([&] { return stop_; });
  }  // after an epoch of the second run
  ~Unfinished() { fs::remove(path); }

  std::vector<Run> run(const std::function<bool()>& stop) {
    steps = 0;
    return compare(
        options,
        [&](const Progress& p) {
          ++steps;
          stop_ = p.run == 2 && p.epoch_done;
        },
        stop, path, [](const std::string&) { return true; });
  }
  /// With one part of the checkpoint replaced; goes as far as the first step.
  std::vector<Run> run_with(const std::string& part, const std::vector<double>& numbers) {
    NamedTensors damaged = whole_.empty() ? whole_ = load_tensors(path) : whole_;
    for (auto& [name, values] : damaged)
      if (name == part) values = Tensor::from(numbers, {static_cast<int64_t>(numbers.size())});
    save_tensors(path, damaged);
    return run([] { return true; });
  }
  std::vector<double> numbers(const std::string& part) const {
    for (const auto& [name, values] : load_tensors(path))
      if (name == part) return values.to_vector<double>();
    return {};
  }

 private:
  bool stop_ = false;
  NamedTensors whole_;
};

/// Whether the number at that place of the first run and those behind it may be x.
bool may_be(size_t place, double x) {
  const size_t first = kHead + 2 * kEpoch;
  if (place >= first) place -= first;
  const size_t field = place < kHead ? place : kHead + (place - kHead) % kEpoch;
  const bool size = x >= 0 && std::isfinite(x);
  switch (field) {
    case 0:          // milliseconds
    case kHead + 1:  // the training loss
      return size;
    case kHead + 2:
    case kHead + 3:  // accuracies
      return x >= 0 && x <= 1;
    case kHead + 4:  // the test loss
      return true;
    default:  // counts, none of which may be another
      return false;
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_damaged_checkpoint_is_one_error) {
  Unfinished one;
  const std::vector<double> runs = one.numbers("runs"), times = one.numbers("step_ms");
  BOOST_TEST_REQUIRE(runs.size() == 2 * kHead + 3 * kEpoch);
  BOOST_TEST(one.run_with("runs", runs).size() == 2u);
  const auto refuses = [&](const std::string& part, const std::vector<double>& numbers) {
    try {
      one.run_with(part, numbers);
    } catch (const Error& error) {
      BOOST_TEST(std::string(error.what()).starts_with(one.path + ": is damaged"), error.what());
      BOOST_TEST(one.steps == 0);
      return true;
    }
    return false;
  };
  constexpr double kInf = std::numeric_limits<double>::infinity();
  int tried = 0;
  for (size_t i = 0; i < runs.size(); ++i)
    for (const double x : {double{NAN}, kInf, -kInf, -1.0, 0.25, 3.0, 1e300}) {
      std::vector<double> damaged = runs;
      damaged[i] = x;
      BOOST_TEST(refuses("runs", damaged) != may_be(i, x), i << ": " << x);
      ++tried;
    }
  const size_t first = kHead + 2 * kEpoch;
  for (size_t n = 0; n < runs.size(); ++n)
    BOOST_TEST(refuses("runs", {runs.begin(), runs.begin() + static_cast<int64_t>(n)}) ==
                   (n != 0 && n != first),
               n);
  std::vector<double> more = runs;
  more.insert(more.end(), runs.begin(), runs.begin() + static_cast<int64_t>(first));
  BOOST_TEST(refuses("runs", more));
  more.assign(runs.begin(), runs.begin() + static_cast<int64_t>(first));
  for (int i = 0; i < 2; ++i)
    more.insert(more.end(), runs.begin(), runs.begin() + static_cast<int64_t>(first));
  BOOST_TEST(refuses("runs", more));
  for (const double x : {double{NAN}, kInf, -1.0}) {
    std::vector<double> damaged = times;
    damaged[1] = x;
    BOOST_TEST(refuses("step_ms", damaged), x);
  }
  BOOST_TEST(refuses("step_ms", {times.begin(), times.end() - 1}));
  BOOST_TEST(refuses("step_ms", {}));
  BOOST_TEST_MESSAGE(tried << " numbers");
}

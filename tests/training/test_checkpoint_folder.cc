#define BOOST_TEST_MODULE checkpoint_folder
#include <gradus/training/checkpoint_folder.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/checks.h"

using namespace gradus;
using test::says;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("gradus-test-retention-{}", ::getpid());
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

/// A training whose only state is its step.
struct Training {
  explicit Training(const Folder& where, CheckpointFolderOptions options = {.keep_last = 2})
      : folder((checkpoint.add("step", step), checkpoint), where.path / "run", options) {}
  bool save(double metric) { return folder.save(++step, metric); }

  int64_t step = 0;
  Checkpoint checkpoint;
  CheckpointFolder folder;
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_best_and_the_last_stay) {
  const Folder where;
  Training training(where);
  BOOST_TEST(!training.folder.resume());
  BOOST_TEST(training.save(3));
  BOOST_TEST(training.save(1));
  BOOST_TEST(!training.save(2));
  std::ofstream(where.path / "run" / "notes.txt") << "mine";
  for (int i = 0; i < 8; ++i) BOOST_TEST(!training.save(i == 0 ? NAN : 2));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(where.path / "run"))
    names.insert(entry.path().filename());
  BOOST_TEST((names == std::set<std::string>{"best.safetensors", "notes.txt", "step-10.safetensors",
                                             "step-11.safetensors"}));
  training.checkpoint.load(training.folder.best_path());
  BOOST_TEST(training.step == 2);
}

BOOST_AUTO_TEST_CASE(a_resumed_training_compares_with_the_best_before) {
  const Folder where;
  {
    Training training(where, {.keep_last = 1, .improvement = {Better::higher}});
    training.save(0.5);
    training.save(0.9);
    training.save(0.7);
  }
  Training training(where, {.keep_last = 1, .improvement = {Better::higher}});
  BOOST_TEST(training.folder.resume());
  BOOST_TEST(training.step == 3);
  BOOST_TEST(training.folder.best() == 0.9);
  BOOST_TEST(!training.save(0.8));
  BOOST_TEST(training.save(0.95));
}

BOOST_AUTO_TEST_CASE(another_training_s_folder_is_left_alone) {
  const Folder where;
  {
    Training training(where);
    for (int i = 0; i < 3; ++i) training.save(i);
  }
  Training anew(where);
  BOOST_CHECK_EXCEPTION(anew.save(7), Error, says("holds step 3, later than the step 1"));
  BOOST_TEST(anew.folder.best() == HUGE_VAL);
  BOOST_TEST(fs::exists(where.path / "run" / "step-3.safetensors"));
  BOOST_CHECK_EXCEPTION(Training(where, {.keep_last = 0}), Error, says("keep_last is 0"));
  std::ofstream(where.path / "file") << "";
  Checkpoint checkpoint;
  BOOST_CHECK_EXCEPTION(CheckpointFolder(checkpoint, where.path / "file"), Error,
                        says("the folder cannot be made"));
}

#define BOOST_TEST_MODULE csv_log
#include <gradus/base/file.h>
#include <gradus/training/csv_log.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;
namespace fs = std::filesystem;

namespace {

struct File {
  fs::path path = fs::temp_directory_path() / fmt::format("gradus-test-log-{}.csv", ::getpid());
  File() { fs::remove(path); }
  ~File() { fs::remove(path); }
  std::string text() const { return read_file(path); }
  void write(const std::string& text) const { std::ofstream(path) << text; }
};

const std::vector<std::string> kColumns{"step", "loss"};

}  // namespace

BOOST_AUTO_TEST_CASE(each_line_is_there_when_it_is_written) {
  const File file;
  CsvLog log(file.path, kColumns);
  BOOST_TEST(file.text() == "step,loss\n");
  log.write(0, 0.1);
  BOOST_TEST(file.text() == "step,loss\n0,0.1\n");
  log.write(1, 1 / 3.);
  log.write(2e6, std::numeric_limits<double>::quiet_NaN());
  BOOST_TEST(file.text() == "step,loss\n0,0.1\n1,0.3333333333333333\n2000000,nan\n");
  BOOST_CHECK_EXCEPTION(log.write(1), Error, says("1 values for the 2 columns"));
  CsvLog anew(file.path, {"epoch"});
  BOOST_TEST(file.text() == "epoch\n");
}

BOOST_AUTO_TEST_CASE(a_resumed_one_drops_what_comes_again_and_what_was_not_finished) {
  const File file;
  file.write("step,loss\n0,3\n10,nan\n20,1\n30,0.5\n4");
  CsvLog(file.path, kColumns, 20).write(20, 7);
  BOOST_TEST(file.text() == "step,loss\n0,3\n10,nan\n20,7\n");
  for (const char* start : {"step,lo", "step,loss", "", "step,loss\n"}) {
    file.write(start);
    CsvLog(file.path, kColumns, 20).write(20, 7);
    BOOST_TEST(file.text() == "step,loss\n20,7\n");
  }
  fs::remove(file.path);
  CsvLog(file.path, kColumns, 20).write(20, 7);
  BOOST_TEST(file.text() == "step,loss\n20,7\n");
}

BOOST_AUTO_TEST_CASE(another_file_stays_as_it_is) {
  const File file;
  const std::tuple<const char*, const char*> cases[] = {
      {"step,accuracy\n0,3\n", "its columns are 'step,accuracy', not 'step,loss'"},
      {"step,loss,more\n0,3\n", "its columns are 'step,loss,more'"},
      {"step,loss\n0,3\n1,x\n", "line 3: '1,x' is no line of numbers"},
      {"step,loss\n0,3 \n", "line 2: '0,3 ' is no line of numbers"},
      {"step,loss\n\n", "line 2: '' is no line of numbers"},
      {"step,loss\n0,3,4\n", "line 2: 3 numbers for 2 columns"},
      {"step,loss\n0\n", "line 2: 1 numbers for 2 columns"}};
  for (const auto& [text, message] : cases) {
    file.write(text);
    BOOST_CHECK_EXCEPTION(CsvLog(file.path, kColumns, 5), Error, says(message));
    BOOST_TEST(file.text() == text);
  }
  BOOST_CHECK_EXCEPTION(CsvLog(file.path, {}), Error, says("without columns"));
  for (const char* name : {"", "a,b", "a\nb", "\"a\""})
    BOOST_CHECK_EXCEPTION(CsvLog(file.path, {name}), Error, says("is no name of a column"));
  BOOST_CHECK_THROW(CsvLog("/nowhere/log.csv", kColumns), WriteError);
}

// Whenever a writer is killed, what it had written is whole, and a resumed one goes on from there.
BOOST_AUTO_TEST_CASE(a_killed_writer_loses_no_line) {
  const File file;
  int64_t step = 0;
  for (int kill = 0; kill < test::kills_of(20); ++kill) {
    int pipe[2];
    BOOST_REQUIRE(::pipe(pipe) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      CsvLog log(file.path, kColumns, step);
      for (int64_t s = step;; ++s) {
        log.write(s, 0.5);
        if (::write(pipe[1], &s, sizeof s) != sizeof s) ::_exit(1);  // it is written, says this
        if (s - step > 100000) ::_exit(1);
      }
    }
    ::close(pipe[1]);
    int64_t told = -1;
    for (int64_t s; told < step + 3 * kill && ::read(pipe[0], &s, sizeof s) == sizeof s;) told = s;
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (int64_t s; ::read(pipe[0], &s, sizeof s) == sizeof s;) told = s;
    ::close(pipe[0]);
    const std::string text = file.text();
    std::string expected = "step,loss\n";
    for (int64_t s = 0; s <= told; ++s) expected += fmt::format("{},0.5\n", s);
    BOOST_REQUIRE(text.starts_with(expected));
    step = std::max<int64_t>(told - 1, 0);  // as from a checkpoint that is older
  }
  CsvLog(file.path, kColumns, step);
  const std::string text = file.text();
  BOOST_TEST(std::count(text.begin(), text.end(), '\n') == step + 1);
}

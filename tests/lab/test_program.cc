// The program as its users start it.
#define BOOST_TEST_MODULE program
#include <fcntl.h>
#include <fmt/format.h>
#include <pty.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "lab/study/nets.h"
#include "tests/checks.h"

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// A folder for one test, which is where the program runs.
struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "gradus-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  fs::path path;
};

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  BOOST_TEST_REQUIRE(file.good(), path << " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

struct Result {
  int code;
  std::string out, err;
};

/// Runs `environment program arguments` through the shell, without a terminal.
Result run(const Folder& folder, const std::string& arguments,
           const std::string& environment = "") {
  const std::string command = "cd '" + folder.path.string() + "' && " + environment +
                              " '" GRADUS_PROGRAM "' " + arguments + " >.out 2>.err";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read(folder.path / ".out"),
          read(folder.path / ".err")};
}

/// The program on a terminal of 40 columns.
class OnTerminal {
 public:
  OnTerminal(const Folder& folder, std::vector<std::string> arguments) {
    winsize size{10, 40, 0, 0};
    pid_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
    BOOST_TEST_REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      arguments.insert(arguments.begin(), "gradus");
      std::vector<char*> pointers;
      for (std::string& argument : arguments) pointers.push_back(argument.data());
      pointers.push_back(nullptr);
      ::setenv("TERM", "xterm", 1);
      if (::chdir(folder.path.c_str()) == 0) ::execv(GRADUS_PROGRAM, pointers.data());
      ::_exit(127);
    }
  }
  ~OnTerminal() { ::close(terminal_); }

  /// Reads until the text has been shown, or the program has ended.
  void wait_for(const std::string& text) {
    while (shown_.find(text) == std::string::npos && read_more()) continue;
  }
  void type(char c) { BOOST_TEST(::write(terminal_, &c, 1) == 1); }
  void signal(int number) { ::kill(pid_, number); }
  int exit_code() {
    while (read_more()) continue;
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  const std::string& shown() const { return shown_; }

 private:
  bool read_more() {
    char buffer[4096];
    const ssize_t n = ::read(terminal_, buffer, sizeof buffer);
    if (n > 0) shown_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  int terminal_ = -1;
  pid_t pid_;
  std::string shown_;
};

constexpr char kCtrlC = 3;

/// Some containers have no terminals to give.
boost::test_tools::assertion_result terminals_exist(boost::unit_test::test_unit_id) {
  int terminal = -1, program = -1;
  const bool exist = ::openpty(&terminal, &program, nullptr, nullptr, nullptr) == 0;
  ::close(terminal);
  ::close(program);
  return exist;
}
const boost::unit_test::precondition with_terminals(terminals_exist);

std::string idx(const std::vector<int>& sizes, const std::string& bytes) {
  std::string text{0, 0, 8, static_cast<char>(sizes.size())};
  for (const int size : sizes)
    for (const int shift : {24, 16, 8, 0}) text += static_cast<char>(size >> shift);
  return text + bytes;
}

void write_gzipped(const fs::path& path, const std::string& bytes) {
  const gzFile file = ::gzopen(path.c_str(), "wb");
  ::gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  ::gzclose(file);
}

/// Images of three classes, told apart by a bright column, as MNIST's four files.
void write_images(const fs::path& folder, int train, int test, int size, bool gzipped = false) {
  fs::create_directory(folder);
  for (const auto& [part, n] : {std::pair("train", train), std::pair("t10k", test)}) {
    std::string pixels, labels;
    for (int i = 0; i < n; ++i) {
      labels += static_cast<char>(i % 3);
      for (int p = 0; p < size * size; ++p)
        pixels += static_cast<char>(p % size == i % 3 ? 250 : (7 * p + 13 * i) % 100);
    }
    const std::string stem = folder / part, ending = gzipped ? "-ubyte.gz" : "-ubyte";
    const auto put = gzipped ? write_gzipped : write;
    put(stem + "-images-idx3" + ending, idx({n, size, size}, pixels));
    put(stem + "-labels-idx1" + ending, idx({n}, labels));
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// metrics.csv without the milliseconds; every row must be whole.
std::string metrics(const fs::path& output) {
  std::string result;
  const std::string text = read(output / "metrics.csv");
  BOOST_TEST(text.back() == '\n');
  for (const std::string& line : lines_of(text)) {
    std::vector<std::string> cells;
    std::istringstream stream(line);
    for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
    BOOST_TEST_REQUIRE(cells.size() == 10u, "a row is: " << line);
    for (size_t i = 0; i < cells.size(); ++i)
      if (i != 7) result += cells[i] + ",";
    result += "\n";
  }
  return result;
}

bool has_partial_file(const fs::path& folder) {
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const auto& entry) { return entry.path().extension() == ".partial"; });
}

/// Code 2 says that what was asked for is wrong, code 1 that the system does not let it be done.
void check_one_message(const Folder& folder, const std::string& arguments,
                       const std::string& expected, int code) {
  const Result result = run(folder, arguments);
  BOOST_TEST_CONTEXT(arguments << "\n" << result.err) {
    BOOST_TEST(result.code == code);
    BOOST_TEST(result.out == "");
    BOOST_TEST(lines_of(result.err).size() == 1u);
    BOOST_TEST(result.err.find(expected) != std::string::npos);
  }
}

void check_wrong_input(const Folder& folder, const std::string& arguments,
                       const std::string& expected) {
  check_one_message(folder, arguments, expected, 2);
}

}  // namespace

BOOST_AUTO_TEST_CASE(wrong_options_get_one_line_and_code_2) {
  const Folder folder;
  write(folder.path / "file", "x");
  const std::pair<const char*, const char*> rows[] = {
      {"compare --bogus", "--bogus"},
      {"train", "train"},
      {"compare --models cnn,resnet", "resnet"},
      {"compare --models mlp,mlp", "mlp is named twice"},
      {"compare --norms group", "group"},
      {"compare --optimizer newton", "newton"},
      {"compare --lr nan", "nan"},
      {"compare --lr -0.1", "-0.1"},
      {"compare --lr inf", "inf"},
      {"compare --lr fast", "fast"},
      {"compare --seeds 0", "--seeds"},
      {"compare --seeds 99999999999999999999", "--seeds"},
      {"compare --epochs 1.5", "--epochs"},
      {"compare --batch-size 1", "--batch-size"},
      {"compare --batch-size 2000", "1438 rows do not fill one batch of 2000"},
      {"compare --threads -1", "--threads"},
      {"compare --threads 257", "--threads"},
      {"lab axes --threads 257", "--threads"},
      {"compare --data nowhere", "nowhere"},
      {"info --bogus", "--bogus"},
      {"lab --bogus", "--bogus"},
      {"plot", "file"},
      {"plot nowhere.csv", "nowhere.csv: cannot be opened"},
      {"plot file", "file: 'x' names no two columns"},
      {"plot file --output file.pdf", "a picture is .svg or .png"},
      {"lab spead", "there is no experiment 'spead'; the nearest first: speed, "},
      {"lab axes companion", "there is no experiment 'companion'; the nearest first: companions, "},
      {"lab --tune spead", "there is no experiment 'spead'"},
      {"lab axes --seeds 0", "--seeds"},
      {"lab axes --seeds many", "--seeds"},
      {"lab axes --first-seed 999999", "have chosen the learning rates"},
      {"lab axes --threads -1", "--threads"},
      {"lab --data nowhere", "nowhere: is not a folder"},
      {"lab --tune --data nowhere", "nowhere: is not a folder"},
  };
  for (const auto& [arguments, expected] : rows) check_wrong_input(folder, arguments, expected);
  for (const char* option : {"compare --models",
                             "compare --norms",
                             "compare --seeds",
                             "compare --epochs",
                             "compare --batch-size",
                             "compare --lr",
                             "compare --optimizer",
                             "compare --data",
                             "compare --threads",
                             "compare --output",
                             "gradcheck",
                             "gradcheck --order",
                             "gradcheck --seed",
                             "gradcheck --mode",
                             "gradcheck --model",
                             "gradcheck --norm",
                             "gradcheck --weights",
                             "lab",
                             "lab --seeds",
                             "lab --first-seed",
                             "lab --data",
                             "lab --rates",
                             "lab --threads",
                             "lab --output",
                             "lab --out"})
    check_wrong_input(folder, option + std::string(" ''"), "");
  check_wrong_input(folder, "compare --models ,", "--models");
  check_wrong_input(folder, "compare --data " + std::string(300, 'x'), "is not a folder");
  for (const char* left : {"gradus-lab", "gradus-compare"})
    BOOST_TEST(!fs::exists(folder.path / left));
}

// Where the system does not let results be written, one message says so, before anything is run.
BOOST_AUTO_TEST_CASE(what_cannot_be_written_is_code_1) {
  const Folder folder;
  write(folder.path / "file", "x");
  const std::string compare = "compare --models mlp --norms none --seeds 1 --epochs 1 --output ",
                    lab = "lab axes --seeds 1 --output ";
  for (const std::string& command : {compare, lab}) {
    check_one_message(folder, command + "file/results", "file/results: cannot be written to", 1);
    check_one_message(folder, command + "file", "file: cannot be written to", 1);
    check_one_message(folder, command + std::string(300, 'x'), "File name too long", 1);
  }
  const auto spoil = [&](const std::string& command, const std::string& name) {
    for (const bool fifo : {false, true}) {
      fs::create_directory(folder.path / "o");
      const fs::path path = folder.path / "o" / name;
      if (fifo)
        BOOST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
      else
        fs::create_directory(path);
      check_one_message(folder, command + "o", name + ": results cannot be written there", 1);
      BOOST_TEST(fs::exists(path));
      BOOST_TEST(std::distance(fs::directory_iterator(folder.path / "o"), {}) == 1);
      fs::remove_all(folder.path / "o");
    }
    fs::create_directory(folder.path / "o");
    fs::create_symlink("nowhere/" + name, folder.path / "o" / name);
    check_one_message(folder, command + "o", name + ": cannot be written: No such file", 1);
    BOOST_TEST(std::distance(fs::directory_iterator(folder.path / "o"), {}) == 1);
    fs::remove_all(folder.path / "o");
  };
  for (const char* name : {"metrics.csv", "summary.json", "curves.gp", "curves.svg",
                           "compare-unfinished.json", "compare-unfinished.safetensors"})
    for (const char* how : {"", "--resume ", "--fresh "})
      spoil(std::regex_replace(compare, std::regex("--output"), how + std::string("--output")),
            name);
  for (const char* name : {"study.json", "claims.json", "report.html", "axes.csv"}) {
    spoil(lab, name);
    spoil("lab axes --seeds 1 --fresh --output ", name);
  }
  spoil("lab --tune axes --output ", "rates.csv");
}

// One that is over has nothing to write.
BOOST_AUTO_TEST_CASE(results_in_a_read_only_folder) {
  const Folder folder;
  const std::string compare = "compare --models mlp --norms none --seeds 1 --epochs 1 --output o ";
  const Result first = run(folder, compare);
  BOOST_TEST_REQUIRE(first.code == 0, first.err);
  constexpr int kMayNot = 77;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string o = folder.path / "o";
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(o.c_str(), o.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
        ::mount("none", o.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0)
      ::_exit(kMayNot);
    const Result known = run(folder, compare + "--resume");
    if (known.code != 0 || known.out.empty() || !first.out.starts_with(known.out)) ::_exit(1);
    const Result anew = run(folder, compare + "--fresh");
    const bool told =
        anew.err.find("o: cannot be written to: Read-only file system") != anew.err.npos;
    ::_exit(anew.code == 1 && told && lines_of(anew.err).size() == 1 ? 0 : 2);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  BOOST_TEST((status == 0 || WEXITSTATUS(status) == kMayNot), WEXITSTATUS(status));
}

// A summary that may not be read, or a folder that may not be entered, is the system's doing.
BOOST_AUTO_TEST_CASE(results_that_may_not_be_read) {
  const Folder folder;
  const std::string compare =
      "compare --models mlp --norms none --seeds 1 --epochs 1 --output o --resume";
  fs::permissions(folder.path, fs::perms::all);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(77);
    if (run(folder, compare).code != 0) ::_exit(1);
    const fs::path o = folder.path / "o";
    const auto refused = [&](const char* why) {
      const Result result = run(folder, compare);
      return result.code == 1 && result.out.empty() && lines_of(result.err).size() == 1 &&
             result.err.find(why) != std::string::npos;
    };
    fs::permissions(o / "summary.json", fs::perms::owner_write);
    if (!refused("summary.json: cannot be read: Permission denied")) ::_exit(2);
    fs::permissions(o, fs::perms::none);
    const bool closed = refused("o: cannot be written to: Permission denied");
    fs::permissions(o, fs::perms::owner_all);
    ::_exit(closed ? 0 : 3);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  BOOST_TEST((status == 0 || WEXITSTATUS(status) == 77), WEXITSTATUS(status));
}

BOOST_AUTO_TEST_CASE(where_every_run_diverged_resume_says_so_too) {
  const Folder folder;
  const std::string compare =
      "compare --models mlp --norms none --seeds 1 --epochs 2 --optimizer sgd --lr 1e25 --output "
      "o ";
  for (const char* how : {"", "--resume"}) {
    const Result result = run(folder, compare + how);
    BOOST_TEST(result.code == 2);
    BOOST_TEST(result.err.find("compare: every run diverged") != std::string::npos);
    BOOST_TEST(result.out.find("diverged") != std::string::npos);
  }
}

// Results of other options stay, and nothing is mixed with them, unless they are to be replaced.
BOOST_AUTO_TEST_CASE(results_of_other_options_stay) {
  const Folder folder;
  write_images(folder.path / "i8", 60, 12, 8);
  const std::string compare =
      "compare --models mlp --norms none --seeds 1 --data i8 --output o --epochs ";
  BOOST_TEST_REQUIRE(run(folder, compare + "2").code == 0);
  const std::string before = metrics(folder.path / "o");
  const auto names = [&] { return std::distance(fs::directory_iterator(folder.path / "o"), {}); };
  const auto files = names();
  check_wrong_input(folder, compare + "1", "compare: o holds the results of Gradus");
  BOOST_TEST(metrics(folder.path / "o") == before);
  BOOST_TEST(names() == files);
  BOOST_TEST(run(folder, compare + "2").code == 0);
  BOOST_TEST(metrics(folder.path / "o") == before);
  for (const char* same : {"i8/", "./i8", "././/i8//."}) {
    const Result result =
        run(folder, std::regex_replace(compare, std::regex("i8"), same) + "2 --resume");
    BOOST_TEST(result.code == 0, same);
    BOOST_TEST(result.err.find("is over") != std::string::npos, same);
  }
  // Of another version, or damaged, they stay, too; deep brackets are no end of the program.
  const std::string summary = read(folder.path / "o/summary.json"), deep(1'000'000, '[');
  const std::string other = std::regex_replace(summary, std::regex("test_loss_mean"), "loss");
  for (const std::string& text :
       {std::regex_replace(other, std::regex("\"version\": \"[^\"]*\""), "\"version\": \"0.1.0\""),
        std::regex_replace(summary, std::regex("\"options\": \\{"), "\"options\": " + deep + "{"),
        std::string("{\"mine\": 1}"), deep}) {
    write(folder.path / "o/summary.json", text);
    check_wrong_input(folder, compare + "2", "compare: o holds the results of Gradus");
    check_wrong_input(folder, compare + "2 --resume", "compare: o holds the results of Gradus");
    BOOST_TEST(read(folder.path / "o/summary.json") == text);
  }
  BOOST_TEST(run(folder, compare + "1 --fresh", "PATH=/nowhere").code == 0);
  BOOST_TEST(lines_of(metrics(folder.path / "o")).size() == 2u);
  BOOST_TEST(!fs::exists(folder.path / "o/curves.svg"));  // of the earlier one

  write(folder.path / "o/study.json", deep);
  check_wrong_input(folder, "lab axes --output o", "holds results of another run (damaged)");
  fs::create_directory(folder.path / "digits");
  check_wrong_input(folder, "compare --data ./digits", "has no train-images");
  check_wrong_input(folder, "lab --data digits/", "has no train-images");
}

BOOST_AUTO_TEST_CASE(the_lab_leaves_its_page_and_runs_nothing_twice) {
  const Folder folder;
  const std::string lab = "lab axes --output o";
  const Result first = run(folder, lab + " --seeds 1");
  BOOST_TEST_REQUIRE(first.code == 0, first.err);
  BOOST_TEST(lines_of(first.out).back() == (folder.path / "o/report.html").string());
  BOOST_TEST(first.out.find("   - axes: Exact: which inputs share a statistic") !=
             std::string::npos);
  const std::string page = read(folder.path / "o/report.html");
  BOOST_TEST(page.find("Not run: gradus lab speed") != std::string::npos);
  BOOST_TEST(page.find("</html>") != std::string::npos);
  BOOST_TEST(json::parse(read(folder.path / "o/claims.json"))["endpoints"].size() == 1u);
  const std::string rows = read(folder.path / "o/axes.csv");

  const Result again = run(folder, lab + " --seeds 1 --json");
  BOOST_TEST(again.code == 0);
  BOOST_TEST(again.err.find("axes  is there already") != std::string::npos);
  BOOST_TEST(json::parse(again.out)[0]["verdict"] == "exact");
  check_wrong_input(folder, lab + " --seeds 2", "nothing is mixed");
  write(folder.path / "o/study.json", "{");
  check_wrong_input(folder, lab + " --seeds 1", "another run (damaged)");
  BOOST_TEST(read(folder.path / "o/axes.csv") == rows);
  BOOST_TEST(run(folder, lab + " --seeds 2 --fresh").code == 0);
  BOOST_TEST(!has_partial_file(folder.path / "o"));
  fs::create_directory(folder.path / "mine");
  write(folder.path / "mine/speed.csv", "my own");
  check_wrong_input(folder, "lab axes --seeds 1 --output mine",
                    "no study.json that tells whose it is");
  BOOST_TEST(read(folder.path / "mine/speed.csv") == "my own");
}

BOOST_AUTO_TEST_CASE(the_lab_takes_images_of_a_folder) {
  const Folder folder;
  write_images(folder.path / "few", 60, 20, 8);
  check_wrong_input(folder, "lab --data few", "few leaves 48 images to train with");
  write_images(folder.path / "images", 90, 30, 36);
  BOOST_TEST((gradus::lab::run_images((folder.path / "images").string(), 0).test.x.shape() ==
              gradus::Shape{30, 1, 12, 12}));
  check_wrong_input(folder, "lab axes --data images",
                    "nothing is left to run: axes is left out: it is not about images");
  BOOST_TEST(!fs::exists(folder.path / "gradus-lab"));
  const Result result = run(folder, "lab microbatch signal --seeds 1 --data images --output o");
  BOOST_TEST_REQUIRE(result.code == 0, result.err);
  BOOST_TEST(result.err.find("signal is left out: it is not about images") != std::string::npos);
  BOOST_TEST(result.out.starts_with(
      "Images: images, averaged over 3 x 3 pixels; the learning rates were chosen on others"));
  const std::string page = read(folder.path / "o/report.html");
  BOOST_TEST(page.find("are repeated on the images of images, averaged") != std::string::npos);
  BOOST_TEST(page.find("the learning rates were chosen on others") != std::string::npos);
  check_wrong_input(folder, "lab microbatch --seeds 1 --output o", "nothing is mixed");
  write_images(folder.path / "images", 91, 30, 6);
  check_wrong_input(folder, "lab microbatch --seeds 1 --data images --output o",
                    "nothing is mixed");
  fs::remove(folder.path / "images/t10k-images-idx3-ubyte");
  check_wrong_input(folder, "lab microbatch --seeds 1 --data images --output o",
                    "has no t10k-images-idx3-ubyte");
}

BOOST_AUTO_TEST_CASE(wrong_data_is_named_and_earlier_results_stay) {
  const Folder folder;
  const fs::path data = folder.path / "images";
  write_images(data, 40, 10, 8);
  const std::string compare =
      "compare --models mlp --norms none --seeds 1 --epochs 1 --data images --output o";
  BOOST_TEST(run(folder, compare).code == 0);
  const std::string before = read(folder.path / "o/metrics.csv");
  const fs::path images = data / "train-images-idx3-ubyte",
                 labels = data / "train-labels-idx1-ubyte";
  const std::string good = read(images);

  write(images, good.substr(0, good.size() - 1));
  check_wrong_input(folder, compare, "train-images-idx3-ubyte: 2559 bytes where");
  write(images, good.substr(0, 9));
  check_wrong_input(folder, compare, "train-images-idx3-ubyte: truncated");
  write(images, "P5 8 8 255 ");
  check_wrong_input(folder, compare, "train-images-idx3-ubyte: not an IDX file");
  write(images, "");
  check_wrong_input(folder, compare, "train-images-idx3-ubyte: not an IDX file");
  write(images, idx({0, 8, 8}, ""));
  write(labels, idx({0}, ""));
  check_wrong_input(folder, compare, "holds no images");
  fs::remove(images);
  check_wrong_input(folder, compare, "has no train-images-idx3-ubyte");
  BOOST_TEST(read(folder.path / "o/metrics.csv") == before);
}

BOOST_AUTO_TEST_CASE(gzipped_and_plain_files_are_one_dataset) {
  const Folder folder;
  write_images(folder.path / "plain", 150, 30, 8);
  write_images(folder.path / "packed", 150, 30, 8, true);
  for (const char* data : {"plain", "packed"}) {
    const Result result = run(folder, std::string("compare --seeds 1 --epochs 2 --json --data ") +
                                          data + " --output o-" + data);
    BOOST_TEST_REQUIRE(result.code == 0, result.err);
    BOOST_TEST(json::parse(result.out)["results"].size() == 9u);
  }
  BOOST_TEST(metrics(folder.path / "o-plain") == metrics(folder.path / "o-packed"));
}

BOOST_AUTO_TEST_CASE(the_same_figures_on_one_and_two_threads_and_again) {
  const Folder folder;
  const std::string compare = "compare --models cnn,rnn,transformer,mlp --seeds 1 --epochs 2 ";
  BOOST_TEST(run(folder, compare + "--threads 1 --output one").code == 0);
  BOOST_TEST(run(folder, compare + "--threads 2 --output two").code == 0);
  BOOST_TEST(run(folder, compare + "--threads 2 --output again").code == 0);
  const std::string one = metrics(folder.path / "one");
  BOOST_TEST(lines_of(one).size() == 1u + 4 * 3 * 2);
  BOOST_TEST(metrics(folder.path / "two") == one);
  BOOST_TEST(metrics(folder.path / "again") == one);
}

BOOST_AUTO_TEST_CASE(summary_and_printed_json_agree) {
  const Folder folder;
  const Result result = run(
      folder, "compare --models mlp --norms layer,batch --seeds 2 --epochs 2 --json --output o");
  BOOST_TEST_REQUIRE(result.code == 0, result.err);
  const json printed = json::parse(result.out);
  BOOST_TEST((printed == json::parse(read(folder.path / "o/summary.json"))));
  BOOST_TEST(printed["complete"] == true);
  BOOST_TEST(printed["options"]["seeds"] == 2);
  BOOST_TEST_REQUIRE(printed["results"].size() == 2u);
  BOOST_TEST(printed["results"][0]["norm"] == "layer");
  BOOST_TEST(printed["results"][1]["reference"] == "layer");
  BOOST_TEST(printed["results"][1]["runs"] == 2);
  BOOST_TEST(!has_partial_file(folder.path / "o"));
}

BOOST_AUTO_TEST_CASE(a_run_that_diverges_leaves_the_others) {
  const Folder folder;
  const std::string compare = "compare --models mlp --seeds 1 --epochs 2 --optimizer adam --json ";
  // Adam's steps are as large as the rate: three layers of weights of 1e13 make more than f32
  // holds, but Batch Normalization divides by the first two.
  const Result some = run(folder, compare + "--norms none,batch --lr 1e13");
  BOOST_TEST_REQUIRE(some.code == 0, some.err);
  const json results = json::parse(some.out)["results"];
  BOOST_TEST(results[0]["diverged"] == 1);
  BOOST_TEST(results[0]["final_train_loss"].is_null());
  BOOST_TEST(results[1]["runs"] == 1);
  const Result all = run(folder, compare + "--norms none --lr 1e30 --output other");
  BOOST_TEST(all.code == 2);
  BOOST_TEST(all.err.find("diverged") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_last_test_batch_of_one_image) {
  const Folder folder;  // 359 test images
  const Result result = run(
      folder, "compare --models mlp --norms batch --seeds 1 --epochs 1 --batch-size 2 --output o");
  BOOST_TEST(result.code == 0, result.err);
}

BOOST_AUTO_TEST_CASE(without_gnuplot_it_says_so) {
  const Folder folder;
  fs::create_directory(folder.path / "o");
  write(folder.path / "o/curves.svg", "of earlier results");
  const Result result = run(
      folder, "compare --models mlp --norms none --seeds 1 --epochs 1 --output o", "PATH=/nowhere");
  BOOST_TEST(result.code == 0);
  BOOST_TEST(result.out.find("gnuplot is not installed") != std::string::npos);
  BOOST_TEST(!fs::exists(folder.path / "o/curves.svg"));
  BOOST_TEST(fs::exists(folder.path / "o/metrics.csv"));
}

BOOST_AUTO_TEST_CASE(plot_draws_a_training_s_csv) {
  if (std::system("gnuplot --version >/dev/null 2>&1") != 0) return;
  const Folder folder;
  write(folder.path / "m.csv",
        "epoch,train_loss,test_loss,it's_rate,empty\n0,3,4,0.1,nan\n1,2,nan,0.1,nan\n"
        "2,1,inf,0.1,nan\n3,0.5,2.5,0.1,nan\n4,0");
  Result result = run(folder, "plot m.csv");
  BOOST_TEST(result.code == 0, result.err);
  BOOST_TEST(result.out == "m.svg\n");
  const std::string svg = read(folder.path / "m.svg");
  BOOST_TEST(svg.starts_with("<?xml"));
  for (const char* shown : {"train_loss", "test_loss", "s_rate", "epoch", "m.csv"})
    BOOST_TEST(svg.find(shown) != std::string::npos, shown);
  BOOST_TEST(svg.find(">empty<") == std::string::npos);
  BOOST_TEST(!fs::exists(folder.path / "m.svg.gp"));
  result = run(folder, "plot m.csv --x train_loss --columns test_loss --log --output p.png");
  BOOST_TEST(result.out == "p.png\n", result.err);
  BOOST_TEST(read(folder.path / "p.png").substr(1, 3) == "PNG");
  check_one_message(folder, "plot m.csv --columns loss", "there is no column 'loss'", 2);
  check_one_message(folder, "plot m.csv --columns empty", "no column has a number", 2);
  write(folder.path / "bad.csv", "a,b\n1,2\n3,x\n");
  check_one_message(folder, "plot bad.csv", "bad.csv, line 3: 'x' is no number", 2);
  write(folder.path / "none.csv", "a,b\n");
  check_one_message(folder, "plot none.csv", "no line below its header", 2);
  check_one_message(folder, "plot m.csv --output nowhere/p.svg", "nowhere/p.svg.gp: cannot be", 1);
}

BOOST_AUTO_TEST_CASE(gnuplot_draws_whatever_the_folder_is_called) {
  if (std::system("gnuplot --version >/dev/null 2>&1") != 0) return;
  const Folder folder;
  for (const char* options : {"--epochs 2 --seeds 2", "--epochs 1 --seeds 1"}) {
    const Result result = run(folder, std::string("compare --models mlp,rnn --fresh ") + options +
                                          " --output \"it's here\"");
    BOOST_TEST(result.code == 0);
    const std::string picture = read(folder.path / "it's here/curves.svg");
    BOOST_TEST(picture.find("</svg>") != std::string::npos);
    BOOST_TEST(picture.find("test accuracy") != std::string::npos);
    fs::remove(folder.path / "it's here/curves.svg");
  }
}

BOOST_AUTO_TEST_CASE(ctrl_c_writes_what_is_done, *with_terminals) {
  for (const int number : {SIGINT, SIGTERM}) {
    const Folder folder;
    OnTerminal program(folder, {"compare", "--models", "rnn", "--epochs", "100", "--output", "o"});
    program.wait_for("[2/9");
    if (number == SIGINT)
      program.type(kCtrlC);
    else
      program.signal(number);
    BOOST_TEST(program.exit_code() == 128 + number);
    BOOST_TEST(program.shown().find("test accuracy %") != std::string::npos);
    BOOST_TEST(lines_of(metrics(folder.path / "o")).size() >= 1u + 100);
    BOOST_TEST(json::parse(read(folder.path / "o/summary.json"))["complete"] == false);
    BOOST_TEST(!has_partial_file(folder.path / "o"));
  }
}

BOOST_AUTO_TEST_CASE(ctrl_c_in_the_first_epoch_leaves_earlier_results, *with_terminals) {
  const Folder folder;
  write_images(folder.path / "images", 20000, 10, 28);  // an epoch of many seconds
  fs::create_directory(folder.path / "o");
  write(folder.path / "o/metrics.csv", "of earlier results");
  OnTerminal program(folder, {"compare", "--models", "cnn", "--data", "images", "--output", "o"});
  program.wait_for("[1/9");
  program.type(kCtrlC);
  BOOST_TEST(program.exit_code() == 130);
  BOOST_TEST(program.shown().find("nothing is written") != std::string::npos);
  BOOST_TEST(read(folder.path / "o/metrics.csv") == "of earlier results");
  BOOST_TEST(!fs::exists(folder.path / "o/summary.json"));
}

BOOST_AUTO_TEST_CASE(the_live_line_fits_its_terminal, *with_terminals) {
  const Folder folder;
  OnTerminal program(folder, {"compare", "--models", "rnn", "--norms", "none", "--seeds", "1",
                              "--epochs", "4", "--json", "--output", "o"});
  BOOST_TEST(program.exit_code() == 0);
  size_t drawn = 0;
  for (size_t at = program.shown().find('\r'); at != std::string::npos;) {
    const size_t next = program.shown().find_first_of("\r\n\033", at + 1);
    if (program.shown()[at + 1] == '[') {  // "\r[1/9, ...": not the end of a line
      ++drawn;
      BOOST_TEST(next - at - 1 < 40u);
    }
    at = program.shown().find('\r', at + 1);
  }
  BOOST_TEST(drawn > 0u);
}

BOOST_AUTO_TEST_CASE(plain_lines_where_there_is_no_terminal) {
  const Folder folder;
  const Result result =
      run(folder, "compare --models mlp --seeds 2 --epochs 2 --output o", "TERM=xterm");
  BOOST_TEST(lines_of(result.err).size() == 6u);
  BOOST_TEST(result.err.find_first_of("\r\033") == std::string::npos);
  BOOST_TEST(result.out.find_first_of("\r\033") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(nobody_reads_the_table) {
  const Folder folder;
  run(folder,
      "compare --models mlp --norms none --seeds 1 --epochs 1 --output o 2>/dev/null | true");
  BOOST_TEST(lines_of(metrics(folder.path / "o")).size() == 2u);
}

BOOST_AUTO_TEST_CASE(info_tells_what_a_report_needs) {
  const Folder folder;
  const Result result = run(folder, "info --json", "env -i");
  BOOST_TEST_REQUIRE(result.code == 0, result.err);
  const json info = json::parse(result.out);
  for (const char* key :
       {"version", "compiler", "flags", "processor", "instruction_sets", "kernels", "blas",
        "blas_core", "threads", "small_jobs", "small_jobs_chosen_by", "gflops_one_thread",
        "gflops_all_threads", "warnings"})
    BOOST_TEST(info.contains(key), key << " is missing");
  BOOST_TEST(info["gflops_one_thread"].get<double>() > 0);
  const Result forced = run(folder, "info", "GRADUS_SMALL_JOBS=alone");
  BOOST_TEST(forced.out.find("small jobs             alone\n"
                             "small jobs chosen by   GRADUS_SMALL_JOBS\n") != std::string::npos);
#if defined(__x86_64__)
  const std::string cpu = read("/proc/cpuinfo");  // the kernel's reading of CPUID, not ours
  const std::string flags =
      cpu.substr(cpu.find("flags"), cpu.find('\n', cpu.find("flags")) - cpu.find("flags")) + ' ';
  const auto has = [&](const std::string& flag) {
    return flags.find(' ' + flag + ' ') != std::string::npos;
  };
  const bool amd = cpu.find("AuthenticAMD") != std::string::npos ||
                   cpu.find("HygonGenuine") != std::string::npos;
  const bool avx512 = has("avx512f") && has("avx512dq") && has("avx512bw") && has("avx512vl");
  BOOST_TEST(info["kernels"] == (avx512 ? "avx512" : has("avx2") ? "avx2" : "baseline"));
  if (info["blas"] != "" && has("avx2")) {
    BOOST_TEST(info["blas_core"] == (avx512 ? "SkylakeX" : amd ? "Zen" : "Haswell"));
    const Result slow = run(folder, "info", "OPENBLAS_CORETYPE=Prescott");
    BOOST_TEST(slow.out.find("warning: OPENBLAS_CORETYPE has OpenBLAS use its Prescott kernels") !=
               std::string::npos);
  }
#endif
}

BOOST_AUTO_TEST_CASE(help_for_every_subcommand) {
  const Folder folder;
  for (const char* arguments : {"--help", "compare --help", "info --help", "gradcheck --help",
                                "lab --help", "lab --list", "--version"}) {
    const Result result = run(folder, arguments);
    BOOST_TEST(result.code == 0);
    BOOST_TEST(!result.out.empty());
    BOOST_TEST(result.err == "");
  }
  const Result result = run(folder, "");
  BOOST_TEST(result.code == 2);
  BOOST_TEST(result.err.find("compare") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(vowels_are_for_sequence_models) {
  const Folder folder;
  check_wrong_input(folder, "compare --data vowels --models rnn,cnn", "cnn reads images");
  const Result result = run(folder, "compare --data vowels --seeds 1 --epochs 1 --json");
  BOOST_TEST(result.code == 0, result.err);
  BOOST_TEST(result.err.find("without cnn") != std::string::npos);
  for (const json& row : json::parse(result.out)["results"]) {
    BOOST_TEST(row["model"] != "cnn");
    BOOST_TEST(row["test_loss_mean"] > 0);
  }
}

// Output that goes nowhere is a failure; what is ignored stays so; names are any bytes.
BOOST_AUTO_TEST_CASE(output_that_cannot_be_written) {
  const Folder folder;
  for (const char* command : {"info", "--help", "gradcheck add", "lab --list"})
    for (const char* to : {">/dev/full", ">&-"}) {
      const Result result = run(folder, fmt::format("{} {} 2>err; exit $?", command, to));
      BOOST_TEST(result.code == 1, command << to);
      BOOST_TEST(read(folder.path / "err").starts_with("gradus: standard output cannot be written"),
                 command << to);
    }
}

BOOST_AUTO_TEST_CASE(two_programs_do_not_share_a_folder) {
  const Folder folder;
  const std::string arguments =
      "compare --models mlp --norms batch --epochs 1 --seeds 1 --output x";
  BOOST_TEST(run(folder, arguments).code == 0);
  const int held = ::open((folder.path / "x").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  BOOST_REQUIRE(::flock(held, LOCK_EX) == 0);
  const std::string before = read(folder.path / "x" / "metrics.csv");
  check_one_message(folder, arguments, "x: another gradus writes its results there", 1);
  check_one_message(folder, "lab axes --seeds 1 --output x", "another gradus writes", 1);
  BOOST_TEST(read(folder.path / "x" / "metrics.csv") == before);
  ::close(held);
  BOOST_TEST(run(folder, arguments).code == 0);
}

BOOST_AUTO_TEST_CASE(folders_have_any_name) {
  const Folder folder;
  for (const std::string name : {"caf\xe9", "-d", "a b", "it's", "%s{}", "x;y"}) {
    write_images(folder.path / name, 60, 10, 6);
    const std::string word = "'" + std::regex_replace(name, std::regex("'"), "'\\''") + "'";
    const Result result =
        run(folder, fmt::format("compare --models mlp --norms batch --epochs 1 --seeds 1 --json "
                                "--data={} --output={}",
                                word, word));
    BOOST_TEST(result.code == 0, name << ": " << result.err);
    BOOST_TEST(json::accept(result.out));
    BOOST_TEST(fs::exists(folder.path / name / "curves.svg"));
  }
}

BOOST_AUTO_TEST_CASE(ignored_signals_stay_ignored) {
  const Folder folder;
  const Result result = run(folder,
                            "compare --models cnn --norms batch --epochs 40 --seeds 1 >log 2>&1 & "
                            "p=$!; sleep 0.3; kill -INT $p; "
                            "kill -HUP $p; wait $p",
                            "trap '' INT HUP;");
  BOOST_TEST(result.code == 0, result.err);
  BOOST_TEST(read(folder.path / "log").find("stopped") == std::string::npos);
}

namespace {

/// Starts the program, waits, and kills it unless it has ended by itself; whether it had.
bool ends_while(const Folder& folder, std::vector<std::string> arguments,
                const std::function<void()>& wait) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    arguments.insert(arguments.begin(), "gradus");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    if (!std::freopen("/dev/null", "w", stdout) || !std::freopen("/dev/null", "w", stderr) ||
        ::chdir(folder.path.c_str()) != 0)
      ::_exit(127);
    ::execv(GRADUS_PROGRAM, pointers.data());
    ::_exit(127);
  }
  wait();
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  BOOST_TEST_REQUIRE((!WIFEXITED(status) || WEXITSTATUS(status) == 0));
  return WIFEXITED(status);
}

/// Kills the program, which writes into the folder "killed", until it has ended, again and again;
/// after each kill `look(which)` looks at what is there, at last `check()`.
void kill_often(const Folder& folder, const std::vector<std::string>& arguments, int64_t shortest,
                int usual, const std::function<void(int)>& look,
                const std::function<void()>& check) {
  int kills = 0;
  bool ended = false;
  for (int i = 0, tries = 0; !ended || kills < gradus::test::kills_of(usual); ++i, ++tries) {
    // Longer and longer: on a slow machine, too, an epoch ends at last.
    const int64_t time = (shortest + 7919 * i % (3 * shortest / 2)) * (1 + tries / 10);
    ended = ends_while(folder, arguments, [&] { ::usleep(static_cast<useconds_t>(time)); });
    kills += !ended;
    BOOST_TEST_REQUIRE(tries < 1000);
    if (!ended) {
      look(i);
      continue;
    }
    check();
    BOOST_TEST(!has_partial_file(folder.path / "killed"));
    fs::remove_all(folder.path / "killed");
    tries = 0;
  }
  BOOST_TEST_MESSAGE(kills << " kills");
}

}  // namespace

// Killed at any moment it goes on after the last whole epoch, and ends with the same bits.
BOOST_AUTO_TEST_CASE(a_killed_comparison_is_resumed) {
  const Folder folder;
  const std::string options =
      "compare --models mlp,transformer --norms none,batch --epochs 6 --seeds 2 --batch-size 64 ";
  BOOST_TEST(run(folder, options + "--output whole").code == 0);
  kill_often(
      folder,
      {"compare", "--models", "mlp,transformer", "--norms", "none,batch", "--epochs", "6",
       "--seeds", "2", "--batch-size", "64", "--output", "killed", "--resume"},
      60'000, 4,
      [&](int i) {
        if (!fs::exists(folder.path / "killed" / "compare-unfinished.safetensors")) return;
        if (i % 8 == 2)
          check_wrong_input(folder, options + "--output killed",
                            "holds an unfinished comparison; --resume goes on with it");
        if (i % 8 == 4)  // and nothing is lost by it
          check_wrong_input(folder, "compare --models mlp,mlp --fresh --output killed",
                            "named twice");
        if (i % 8 == 3)
          check_wrong_input(folder, options + "--lr 0.1 --resume --output killed",
                            "the unfinished comparison in killed is of");
      },
      [&] {
        BOOST_TEST(metrics(folder.path / "killed") == metrics(folder.path / "whole"));
        BOOST_TEST(!fs::exists(folder.path / "killed" / "compare-unfinished.safetensors"));
      });
}

// The lab goes on with the experiments that have not ended, and ends with the same results.
BOOST_AUTO_TEST_CASE(a_killed_lab_goes_on) {
  const Folder folder;
  const std::vector<std::string> names{"axes", "microbatch", "companions"};
  std::vector<std::string> arguments{"lab", "--seeds", "1", "--output", "killed"};
  arguments.insert(arguments.end(), names.begin(), names.end());
  BOOST_TEST(run(folder, "lab --seeds 1 --output whole axes microbatch companions").code == 0);
  const auto look = [&](int) {
    for (const std::string& name : names)
      if (const fs::path file = folder.path / "killed" / (name + ".csv"); fs::exists(file))
        BOOST_TEST(read(file) == read(folder.path / "whole" / (name + ".csv")));
  };
  kill_often(folder, arguments, 150'000, 2, look, [&] {
    look(0);
    BOOST_TEST(fs::exists(folder.path / "killed/companions.csv"));
    BOOST_TEST(fs::exists(folder.path / "killed/report.html"));
    BOOST_TEST(read(folder.path / "killed/claims.json") == read(folder.path / "whole/claims.json"));
  });
}

namespace {

/// Begins a comparison, which is killed after an epoch.
void leave_unfinished(const Folder& folder, const std::string& options) {
  std::istringstream words(options);
  std::vector<std::string> arguments;
  for (std::string word; words >> word;) arguments.push_back(word);
  BOOST_TEST_REQUIRE(!ends_while(folder, arguments, [&] {
    const fs::path checkpoint = folder.path / "o/compare-unfinished.safetensors";
    for (int i = 0; i < 30'000 && !fs::exists(checkpoint); ++i) ::usleep(1000);
  }));
}

}  // namespace

// What is gone on with is of the same data; what is over is not done again.
BOOST_AUTO_TEST_CASE(resuming_looks_at_the_data_and_at_what_is_over) {
  const Folder folder;
  const fs::path images = folder.path / "images/train-images-idx3-ubyte";
  const std::string options =
      "compare --models mlp --norms none,batch --seeds 2 --epochs 250 --data images --output o";
  write_images(folder.path / "images", 300, 30, 8);
  const std::string data = read(images);
  leave_unfinished(folder, options);
  const std::string checkpoint = read(folder.path / "o/compare-unfinished.safetensors");
  std::string other = data;
  other.back() = static_cast<char>(other.back() + 1);
  write(images, other);
  check_wrong_input(folder, options + " --resume",
                    "the data of images are not those that the unfinished comparison in o began");
  write_images(folder.path / "images", 301, 30, 8);
  check_wrong_input(folder, options + " --resume", "the data of images are not those");
  BOOST_TEST((read(folder.path / "o/compare-unfinished.safetensors") == checkpoint));
  write_images(folder.path / "images", 300, 30, 8);
  const Result first = run(folder, options + " --resume");
  BOOST_TEST_REQUIRE(first.code == 0, first.err);

  const std::string known = read(folder.path / "o/metrics.csv");
  const auto picture = fs::last_write_time(folder.path / "o/curves.gp");
  const Result again = run(folder, options + " --resume");
  BOOST_TEST(again.code == 0);
  BOOST_TEST(again.err.find("this comparison is over") != std::string::npos, again.err);
  BOOST_TEST(!again.out.empty());
  BOOST_TEST(first.out.starts_with(again.out));
  const Result as_json = run(folder, options + " --resume --json");
  BOOST_TEST((json::parse(as_json.out) == json::parse(read(folder.path / "o/summary.json"))));
  check_wrong_input(folder, std::regex_replace(options, std::regex("250"), "2") + " --resume",
                    "o holds the results of Gradus");
  BOOST_TEST((fs::last_write_time(folder.path / "o/curves.gp") == picture));
  BOOST_TEST(!fs::exists(folder.path / "o/compare-unfinished.json"));
  BOOST_TEST(read(folder.path / "o/metrics.csv") == known);

  // What is not of these options stays; what is, and is damaged, is made anew.
  const std::string one = std::regex_replace(options, std::regex("250"), "1");
  BOOST_TEST_REQUIRE(run(folder, one + " --fresh").code == 0);
  const std::string whole = read(folder.path / "o/summary.json");
  for (const char* foreign : {"{}", "[1]", "{", R"({"complete": 1})", R"({"complete": true})",
                              R"({"complete": true, "results": [1]})"}) {
    write(folder.path / "o/summary.json", foreign);
    check_wrong_input(folder, one + " --resume", "o holds the results of Gradus");
  }
  const auto with = [&](const char* key, const json& value) {
    nlohmann::ordered_json damaged = nlohmann::ordered_json::parse(whole);
    damaged["results"][0][key] = value;
    return damaged.dump();
  };
  for (const std::string& summary : {with("runs", 1e300), with("runs", -1), with("parameters", 0.5),
                                     with("norm", "x"), with("norm", 1), with("step_ms", "x")}) {
    write(folder.path / "o/summary.json", summary);
    const Result anew = run(folder, one + " --resume");
    BOOST_TEST(anew.code == 0);
    BOOST_TEST(anew.err.find("nothing is unfinished in o; it begins") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(what_killed_writers_left_is_removed) {
  const Folder folder;
  fs::create_directory(folder.path / "o");
  const auto file = [&](const std::string& name) { return folder.path / "o" / name; };
  const fs::path left = file(".gradus-1.partial"), held = file(".gradus-2.partial");
  write(held, "x");
  const int writer = ::open(held.c_str(), O_WRONLY | O_CLOEXEC);
  BOOST_REQUIRE(::flock(writer, LOCK_EX) == 0);
  for (const char* command : {"compare --models mlp --norms none --seeds 1 --epochs 1 --output o",
                              "lab axes --seeds 1 --output o"}) {
    write(left, "x");
    write(file("a.partial"), "x");
    BOOST_TEST(run(folder, command).code == 0);
    BOOST_TEST(!fs::exists(left), command);
    BOOST_TEST(fs::exists(held), command);
    BOOST_TEST(fs::exists(file("a.partial")), command);
  }
  ::close(writer);
}

BOOST_AUTO_TEST_CASE(a_file_that_grows_too_large_is_told) {
  const Folder folder;
  const Result result = run(
      folder, "compare --models mlp --norms none --seeds 1 --epochs 1 --output o", "ulimit -f 16;");
  BOOST_TEST(result.code == 1);
  BOOST_TEST(result.err.find("unfinished.safetensors: cannot be written: File too large") !=
                 std::string::npos,
             result.err);
  BOOST_TEST(!has_partial_file(folder.path / "o"));
}

BOOST_AUTO_TEST_CASE(printed_commands_take_no_path_for_an_option) {
  const Folder folder;
  const Result result =
      run(folder, "compare --models mlp --norms none --seeds 1 --epochs 1 --output=-d",
          "PATH=/nowhere");
  BOOST_TEST(result.out.find("gnuplot ./-d/curves.gp > ./-d/curves.svg") != std::string::npos,
             result.out);
  run(folder, "compare --models mlp --norms none --seeds 1 --epochs 1 --output '<touch made; #'");
  BOOST_TEST(!fs::exists(folder.path / "made"));  // gnuplot takes a script's < for a command
}

namespace {

/// Whether the process is there and no zombie.
bool lives(const std::string& process) {
  std::ifstream status("/proc/" + process + "/stat");
  std::string text((std::istreambuf_iterator<char>(status)), {});
  return text.find(')') != std::string::npos && text[text.rfind(')') + 2] != 'Z';
}

}  // namespace

BOOST_AUTO_TEST_CASE(ctrl_c_ends_a_gnuplot_that_hangs, *with_terminals) {
  for (const bool while_training : {false, true}) {
    const Folder folder;
    fs::create_directory(folder.path / "bin");
    write(folder.path / "bin/gnuplot",
          "#!/bin/sh\necho $$ >'" + (folder.path / "pid").string() + "'\nexec sleep 1000\n");
    fs::permissions(folder.path / "bin/gnuplot", fs::perms::owner_all);
    const std::string path = std::getenv("PATH");
    ::setenv("PATH", ((folder.path / "bin").string() + ":" + path).c_str(), 1);
    OnTerminal program(folder, {"compare", "--models", "mlp", "--norms", "none,batch", "--seeds",
                                "1", "--epochs", while_training ? "400" : "1", "--output", "o"});
    ::setenv("PATH", path.c_str(), 1);
    if (while_training) {
      program.wait_for("[2/2");
      program.type(kCtrlC);
    }
    const auto drawing = [&] {
      return fs::exists(folder.path / "pid") && !read(folder.path / "pid").empty();
    };
    for (int i = 0; i < 3000 && !drawing(); ++i) ::usleep(10'000);
    std::string process = read(folder.path / "pid");
    process.pop_back();
    BOOST_TEST(lives(process));
    const auto begin = std::chrono::steady_clock::now();
    program.type(kCtrlC);
    BOOST_TEST(program.exit_code() == (while_training ? -SIGINT : 128 + SIGINT));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    BOOST_TEST(took.count() < 5);  // of a busy machine
    BOOST_TEST_MESSAGE("ended after " << took.count() << " s");
    for (int i = 0; i < 100 && lives(process); ++i) ::usleep(10'000);
    BOOST_TEST(!lives(process));
  }
}

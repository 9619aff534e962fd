// Random programs of ops, see program.h: those of the corpus, and some from a fixed seed.
#define BOOST_TEST_MODULE programs
#include <gradus/autograd/op.h>
#include <gradus/tensor/random.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <vector>

#include "tests/fuzz/program.h"

using namespace gradus;

namespace {

struct Total {
  void add(const fuzz::Outcome& outcome, const std::string& what) {
    if (!outcome.finding.empty()) BOOST_ERROR(what << ": " << outcome.finding);
    ops += outcome.ops;
    errors += outcome.errors;
    compared += outcome.compared;
  }
  int64_t ops = 0, errors = 0, compared = 0;
};

/// The functions that the headers of ops declare.
std::set<std::string> public_functions() {
  const std::regex declaration(R"(^(inline )?[A-Za-z]\w* (\w+)\(.*)");
  std::set<std::string> names;
  std::smatch match;
  for (const auto& entry : std::filesystem::directory_iterator(GRADUS_SOURCE_DIR "/autograd/ops")) {
    if (entry.path().extension() != ".h") continue;
    // What happens within a norm, which the lab shows; its functions make the same of it.
    if (entry.path().filename() == "norm_stages.h") continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);)
      if (std::regex_match(line, match, declaration)) names.insert(match[2]);
  }
  return names;
}

std::vector<uint8_t> random_program(Generator& generator) {
  std::vector<uint8_t> bytes(8 + generator.below(120));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(generator.below(256));
  return bytes;
}

struct OneThread {
  OneThread() { set_threads(1); }
};
BOOST_TEST_GLOBAL_FIXTURE(OneThread);

}  // namespace

BOOST_AUTO_TEST_CASE(corpus) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(GRADUS_SOURCE_DIR "/tests/fuzz/corpus"))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  BOOST_TEST(files.size() > 50);
  Total total;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::vector<uint8_t> bytes(std::istreambuf_iterator<char>(in), {});
    total.add(fuzz::run_program(bytes), file.filename().string());
  }
  BOOST_TEST_MESSAGE(total.ops << " ops, " << total.errors << " errors, " << total.compared
                               << " comparisons");
}

// GRADUS_PROGRAMS=N runs other programs than the usual ones, N of them from seed GRADUS_SEED.
BOOST_AUTO_TEST_CASE(from_a_seed) {
#ifdef GRADUS_SANITIZED
  int64_t programs = 500;
#else
  int64_t programs = 2000;
#endif
  uint64_t seed = 1;
  if (const char* n = std::getenv("GRADUS_PROGRAMS")) programs = std::atoll(n);
  if (const char* s = std::getenv("GRADUS_SEED")) seed = std::strtoull(s, nullptr, 10);
  Generator generator(seed);
  Total total;
  for (int64_t i = 0; i < programs; ++i)
    total.add(fuzz::run_program(random_program(generator)), "program " + std::to_string(i));
  BOOST_TEST_MESSAGE(total.ops << " ops, " << total.errors << " errors, " << total.compared
                               << " comparisons");
  BOOST_TEST(total.ops > programs);
  BOOST_TEST(total.compared > programs);
}

// A function that the programs do not know is compared by nobody; nor is an op.
BOOST_AUTO_TEST_CASE(every_function_and_op) {
  std::set<std::string> functions = public_functions(), ops;
  for (const char* without_numbers : {"all", "all_finite", "any", "one_hot"})
    BOOST_TEST(functions.erase(without_numbers) == 1U);
  for (const char* in_place : {"copy_", "fill_"}) BOOST_TEST(functions.erase(in_place) == 1U);
  // What they choose goes by the last digit, or by draws.
  for (const char* choice :
       {"bernoulli", "categorical", "keep_top_k", "keep_top_p", "sample_logits"})
    BOOST_TEST(functions.erase(choice) == 1U);
  BOOST_TEST(functions.size() > 90);
  for (const Op* op : all_ops()) ops.insert(op->name);
  Generator generator(12);
  Total total;
  int programs = 0;
  for (; programs < 20000 && !(functions.empty() && ops.empty()); ++programs) {
    const fuzz::Outcome outcome = fuzz::run_program(random_program(generator));
    for (std::string_view name : outcome.functions) functions.erase(std::string(name));
    for (std::string_view name : outcome.recorded) ops.erase(std::string(name));
    total.add(outcome, "program " + std::to_string(programs));
  }
  BOOST_TEST_MESSAGE(programs << " programs");
  for (const std::string& name : functions) BOOST_ERROR("no program calls " << name);
  for (const std::string& name : ops) BOOST_ERROR("no program records " << name);
}

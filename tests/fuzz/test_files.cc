// Files that others wrote or damaged, see files.h: those of the corpus, and mutations of them from
// a fixed seed.
#define BOOST_TEST_MODULE files
#include <gradus/base/file.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "tests/fuzz/files.h"

using namespace gradus;

namespace {

std::vector<std::string> corpus() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(GRADUS_SOURCE_DIR "/tests/fuzz/corpus_files"))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> inputs;
  for (const auto& file : files) inputs.push_back(read_file(file.string()));
  return inputs;
}

/// A few bytes changed, taken out, put in, or the tail of another.
std::string mutated(std::string input, const std::string& other, Generator& generator) {
  for (uint64_t n = 1 + generator.below(4); n > 0; --n) {
    const size_t at = generator.below(input.size() + 1);
    const auto byte = static_cast<char>(generator.below(256));
    switch (generator.below(5)) {
      case 0:
        if (at < input.size()) input[at] = byte;
        break;
      case 1:
        input.insert(at, 1 + generator.below(8), byte);
        break;
      case 2:
        input.erase(at, 1 + generator.below(8));
        break;
      case 3:
        input = input.substr(0, at) + other.substr(generator.below(other.size() + 1));
        break;
      default:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << generator.below(8)));
    }
  }
  return input;
}

void check(const std::string& input, const std::string& what) {
  const std::string finding =
      fuzz::read_file_of({reinterpret_cast<const uint8_t*>(input.data()), input.size()});
  if (!finding.empty()) BOOST_ERROR(what << ": " << finding);
}

}  // namespace

BOOST_AUTO_TEST_CASE(of_the_corpus) {
  const std::vector<std::string> inputs = corpus();
  BOOST_TEST(inputs.size() > 100);
  for (size_t i = 0; i < inputs.size(); ++i) check(inputs[i], "input " + std::to_string(i));
}

// GRADUS_FILES=N tries N mutations, from seed GRADUS_SEED.
BOOST_AUTO_TEST_CASE(from_a_seed) {
  const char *const n = std::getenv("GRADUS_FILES"), *const seed = std::getenv("GRADUS_SEED");
  const int64_t files = n ? std::atoll(n) : 5000;
  Generator generator(seed ? std::strtoull(seed, nullptr, 10) : 1);
  const std::vector<std::string> inputs = corpus();
  for (int64_t i = 0; i < files; ++i)
    check(mutated(inputs[generator.below(inputs.size())], inputs[generator.below(inputs.size())],
                  generator),
          "mutation " + std::to_string(i));
}

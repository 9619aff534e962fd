#define BOOST_TEST_MODULE weights
#include <gradus/tensor/tensor_file.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "lab/weights.h"
#include "tests/checks.h"

using namespace gradus;
using nlohmann::ordered_json;

namespace {

const std::string path = "test_weights_" + std::to_string(::getpid()) + ".safetensors",
                  other = "test_weights_" + std::to_string(::getpid()) + ".npz";
struct NoFiles {
  ~NoFiles() {
    std::filesystem::remove(path);
    std::filesystem::remove(other);
  }
};
BOOST_TEST_GLOBAL_FIXTURE(NoFiles);

constexpr double kInf = std::numeric_limits<double>::infinity();

}  // namespace

BOOST_AUTO_TEST_CASE(a_file_is_listed) {
  save_tensors(path, {{"layer.weight", Tensor::of({{3, 0}, {0, -4}})},
                      {"bad", Tensor::of({NAN, kInf, -kInf, 2}, DType::f64)},
                      {"large", full({4}, 1e300, DType::f64)},
                      {"flags", Tensor::of({1, 0, 1}, DType::boolean)},
                      {"none", zeros({0, 3})},
                      {"count", full({}, 7, DType::i64)}});
  const ordered_json weights = lab::list_weights(path);
  BOOST_TEST(weights["numbers"] == 16);
  const ordered_json& all = weights["tensors"];
  BOOST_TEST_REQUIRE(all.size() == 6u);
  BOOST_TEST(all[0] == (ordered_json{{"name", "layer.weight"},
                                     {"shape", {2, 2}},
                                     {"dtype", "f32"},
                                     {"norm", 5.0},
                                     {"largest", 4.0},
                                     {"nan", 0},
                                     {"infinite", 0}}));
  BOOST_TEST((all[1]["nan"] == 1 && all[1]["infinite"] == 2 && all[1]["norm"] == 2.0));
  BOOST_TEST(all[2]["norm"].get<double>() == 2e300, boost::test_tools::tolerance(1e-15));
  BOOST_TEST(all[3]["norm"].get<double>() == std::sqrt(2), boost::test_tools::tolerance(1e-15));
  BOOST_TEST((all[4]["norm"] == 0.0 && all[4]["shape"] == ordered_json({0, 3})));
  BOOST_TEST((all[5]["dtype"] == "i64" && all[5]["shape"] == ordered_json::array()));
  const std::string table = lab::weights_table(weights);
  BOOST_TEST(table.find("layer.weight  (2, 2)    f32") != table.npos, table);
  BOOST_TEST(table.ends_with("6 tensors, 16 numbers"), table);
  BOOST_CHECK_THROW(lab::list_weights("no such file"), Error);
}

BOOST_AUTO_TEST_CASE(two_files_are_compared) {
  const NamedTensors tensors{{"a", Tensor::of({3, 4, NAN})}, {"b", arange(3)}};
  save_tensors(path, tensors);
  save_tensors(other, tensors);
  const ordered_json same = lab::compare_weights(path, other);
  BOOST_TEST(same["equal"] == true);
  BOOST_TEST(lab::comparison_table(same) == "equal: 2 tensors");
  save_tensors(other, {{"c", ones({1})},
                       {"a", Tensor::of({3, 4.5, NAN})},
                       {"b", raw::cast(arange(3), DType::f64)}});
  const ordered_json compared = lab::compare_weights(path, other);
  BOOST_TEST(compared["equal"] == false);
  const ordered_json expected{
      {{"name", "a"}, {"differ", 1}, {"norm", 0.5}, {"relative", 0.1}, {"largest", 0.5}},
      {{"name", "b"}, {"dtypes", {"i64", "f64"}}},
      {{"name", "c"}, {"only in", other}}};
  BOOST_TEST(compared["tensors"] == expected, compared.dump());
  const std::string table = lab::comparison_table(compared);
  for (const std::string& part : {std::string("dtypes i64 and f64"), "only in " + other})
    BOOST_TEST(table.find(part) != table.npos, table);
  const int64_t large = int64_t{1} << 60;
  save_tensors(path, {{"a", Tensor::from(std::vector{large}, {1})}});
  save_tensors(other, {{"a", Tensor::from(std::vector{large + 1}, {1})}});
  BOOST_TEST(lab::compare_weights(path, other)["tensors"][0]["differ"] == 1);
  save_tensors(path, tensors);
  save_tensors(other, {{"a", Tensor::of({3, kInf, 1})}, {"b", arange(4)}});
  const ordered_json worse = lab::compare_weights(path, other);
  BOOST_TEST((worse["tensors"][0]["differ"] == 2 && worse["tensors"][0]["norm"] == 0.0));
  BOOST_TEST((worse["tensors"][1]["shapes"] == ordered_json{"(3,)", "(4,)"}));
}

#define BOOST_TEST_MODULE lab_gradcheck
#include <gradus/autograd/op.h>
#include <gradus/autograd/ops/arithmetic.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "lab/compare_models.h"
#include "lab/gradcheck.h"
#include "tests/checks.h"

using namespace gradus;
using namespace gradus::lab;
using test::says;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const auto kQuiet = [](size_t, size_t, const std::string&) {};

}  // namespace

BOOST_AUTO_TEST_CASE(names_choose_ops_and_modules) {
  std::vector<std::string> shown;
  const auto checked = check_samples({.names = {"Linear", "linear"}, .orders = {1, 2}},
                                     [&](size_t i, size_t n, const std::string& name) {
                                       shown.push_back(fmt::format("{}/{} {}", i, n, name));
                                     });
  BOOST_TEST((shown == std::vector<std::string>{"1/2 linear", "2/2 Linear"}));
  BOOST_TEST(checked.size() == 2);
  for (const Checked& c : checked) {
    BOOST_TEST(c.ok());
    BOOST_TEST(c.reports.size() == 2 * static_cast<size_t>(c.samples));
  }
  const std::string table = gradcheck_table(checked);
  BOOST_TEST(contains(table, "2 checked, 0 failed"), table);
  BOOST_CHECK_EXCEPTION(check_samples({.names = {"relu", "rleu"}}, kQuiet), Error,
                        says("no op and no module 'rleu'"));
  BOOST_CHECK_EXCEPTION(check_samples({.names = {"layer_norm_backward"}}, kQuiet), Error,
                        says("layer_norm_backward has no samples"));
}

BOOST_AUTO_TEST_CASE(a_wrong_op_fails_its_row_and_those_of_modules_that_use_it) {
  Op* op = find_op("tanh");
  const auto right = op->backward;
  op->backward = [](Backward& ctx) { ctx.set(0, ctx.dy() * 2.0); };
  const auto checked = check_samples({.names = {"tanh", "Tanh", "relu"}, .orders = {1}}, kQuiet);
  op->backward = right;
  BOOST_TEST(checked.size() == 3);
  const std::string table = gradcheck_table(checked);
  for (const Checked& c : checked) BOOST_TEST(c.ok() == (c.name == "relu"), table);
  BOOST_TEST(contains(table, "3 checked, 2 failed"), table);
  BOOST_TEST(contains(table, "\nagain: gradus gradcheck Tanh --order 1 --seed 1 --mode full\n"),
             table);
  const nlohmann::ordered_json json = to_json(checked);
  BOOST_TEST(json.size() == 3);
  BOOST_TEST(json[1]["name"] == "tanh");
  BOOST_TEST(json[1]["ok"] == false);
  BOOST_TEST(json[1]["reports"][0]["inputs"][0]["disagree"] == 15);
}

BOOST_AUTO_TEST_CASE(an_op_that_throws_is_a_failure_and_no_end) {
  Op* op = find_op("tanh");
  const auto right = op->backward;
  for (const Op::BackwardFunction wrong : std::initializer_list<Op::BackwardFunction>{
           [](Backward&) { throw Error("no derivative today"); },
           [](Backward&) { throw std::out_of_range("no derivative today"); }}) {
    op->backward = wrong;
    const auto checked = check_samples({.names = {"tanh", "relu"}, .orders = {1}}, kQuiet);
    op->backward = right;
    BOOST_TEST(checked.size() == 2);
    BOOST_TEST(contains(gradcheck_table(checked), "no derivative today"));
  }
}

BOOST_AUTO_TEST_CASE(a_saved_model_is_checked) {
  const std::string path = "test_lab_gradcheck.safetensors";
  find_model("mlp").make(Norm::batch, digits())->save(path);
  const Checked checked =
      check_model({.model = "mlp", .norm = "batch", .weights = path}, {.orders = {1, 2}});
  BOOST_TEST(checked.ok(), gradcheck_table({checked}));
  BOOST_TEST(checked.reports.size() == 1);
  BOOST_TEST(contains(checked.reports[0].table(), "norms.0.weight"));
  BOOST_CHECK_THROW(check_model({.model = "mlp", .norm = "layer", .weights = path}, {}), Error);
  std::remove(path.c_str());
}

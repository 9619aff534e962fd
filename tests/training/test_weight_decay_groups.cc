#define BOOST_TEST_MODULE weight_decay_groups
#include <gradus/gradus.h>

#include <boost/test/unit_test.hpp>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

std::vector<std::string> names_of(const ParameterGroup& group) {
  std::vector<std::string> names;
  for (const Tensor& p : group.parameters) names.push_back(p.name());
  return names;
}

}  // namespace

BOOST_AUTO_TEST_CASE(norms_and_biases_are_left_out) {
  Sequential model(Linear(3, 4), BatchNorm(4), LayerNorm({2, 2}), Embedding(5, 4));
  const auto groups = weight_decay_groups(model, 0.1);
  BOOST_REQUIRE(groups.size() == 2u);
  BOOST_TEST(*groups[0].weight_decay == 0.1);
  BOOST_TEST(*groups[1].weight_decay == 0);
  BOOST_TEST(!groups[0].lr);
  const std::vector<std::string> decayed{"0.weight", "3.weight"};
  const std::vector<std::string> others{"0.bias", "1.weight", "1.bias", "2.weight", "2.bias"};
  BOOST_TEST(names_of(groups[0]) == decayed, boost::test_tools::per_element());
  BOOST_TEST(names_of(groups[1]) == others, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_frozen_is_in_no_group_and_no_group_is_empty) {
  Sequential model(Linear(3, 4), Linear(4, 2));
  for (Tensor& p : model[0].parameters()) p.set_requires_grad(false);
  const auto groups = weight_decay_groups(model, 0.1);
  BOOST_REQUIRE(groups.size() == 2u);
  BOOST_TEST((names_of(groups[0]) == std::vector<std::string>{"1.weight"}));
  BOOST_TEST((names_of(groups[1]) == std::vector<std::string>{"1.bias"}));
  AdamW optimizer(groups, {.lr = 0.25});
  BOOST_TEST(optimizer.lr(1) == 0.25);

  Linear no_bias(3, 4, {.bias = false});
  BOOST_TEST(weight_decay_groups(no_bias, 0.1).size() == 1u);
  BOOST_CHECK_EXCEPTION(weight_decay_groups(no_bias, -1), Error, says("weight decay is -1"));
  for (Tensor& p : model.parameters()) p.set_requires_grad(false);
  BOOST_CHECK_EXCEPTION(weight_decay_groups(model, 0.1), Error, says("no parameter of Sequential"));
}

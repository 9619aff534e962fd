#define BOOST_TEST_MODULE load
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>
#include <gradus/tensor/tensor_file.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "tests/checks.h"

// Values that were saved elsewhere: by other names, in another dtype, too many or too few.
using namespace gradus;
using test::says;

namespace {

Sequential model() { return Sequential(Linear(3, 4), BatchNorm(4), Linear(4, 2)); }

std::string print(Module& module) {
  std::string text;
  for (const auto& [path, tensor] : module.state())
    text += fmt::format("{} {:.17}\n", path, raw::cast(tensor, DType::f64));
  return text;
}

NamedTensors renamed(NamedTensors values, const std::function<std::string(std::string)>& rename) {
  for (auto& [name, value] : values) name = rename(name);
  return values;
}

}  // namespace

BOOST_AUTO_TEST_CASE(all_that_does_not_fit_is_told_at_once) {
  Sequential here = model(), there = model();
  NamedTensors values = there.state();
  values[0].second = zeros({4, 5});                            // 0.weight
  values[1].second = raw::cast(values[1].second, DType::f64);  // 0.bias
  values.pop_back();                                           // 2.bias
  values.emplace_back("more", ones({7}));
  const std::string before = print(here);
  BOOST_CHECK_EXCEPTION(here.load_state(values), Error,
                        says("load: 0.weight is (4, 3) f32 here, but (4, 5) f32 is given\n"
                             "  0.bias is (4,) f32 here, but (4,) f64 is given\n"
                             "  no value for 2.bias (2,)\n"
                             "  more (7,) is given, but Sequential has nothing of that name"));
  // Shapes have to fit in any case.
  BOOST_CHECK_EXCEPTION(here.load_state(values, {.strict = false, .cast = true}), Error,
                        says("load: 0.weight is (4, 3) f32 here, but (4, 5) f32 is given"));
  BOOST_TEST(print(here) == before);
}

BOOST_AUTO_TEST_CASE(what_is_not_strict_is_reported) {
  Sequential here = model(), there = model();
  NamedTensors values = there.state();
  values.pop_back();
  values.emplace_back("more", ones({7}));
  const Tensor bias = raw::clone(here.state().back().second);
  const IncompatibleKeys keys = here.load_state(values, {.strict = false});
  BOOST_TEST((keys.missing == std::vector<std::string>{"2.bias"}));
  BOOST_TEST((keys.unexpected == std::vector<std::string>{"more"}));
  BOOST_TEST(here.state().back().second.to_vector<float>() == bias.to_vector<float>());
  BOOST_TEST(here.state()[0].second.to_vector<float>() ==
             there.state()[0].second.to_vector<float>());
  const IncompatibleKeys none = here.load_state(there.state());
  BOOST_TEST((none.missing.empty() && none.unexpected.empty()));
  BOOST_TEST(print(here) == print(there));
}

BOOST_AUTO_TEST_CASE(names_are_changed_by_prefix_and_function) {
  Sequential here = model(), there = model();
  NamedTensors values =
      renamed(there.state(), [](const std::string& name) { return "net.body/" + name; });
  values.emplace_back("head.weight", ones({1}));
  const auto rename = [](const std::string& name) {
    return name.starts_with("body/") ? name.substr(5) : "";
  };
  values.emplace_back("net.other", ones({1}));  // which `rename` leaves out
  here.load_state(values, {.prefix = "net.", .rename = rename});
  BOOST_TEST(print(here) == print(there));
  const std::string before = print(here);
  BOOST_CHECK_EXCEPTION(
      here.load_state(values, {.prefix = "net.", .rename = [](const std::string&) { return "x"; }}),
      Error, says("load: a name is given twice among 11 values: x"));
  BOOST_CHECK_EXCEPTION(here.load_state(values, {.prefix = "nothing"}), Error,
                        says("load: no value for 0.weight (4, 3)\n"));
  BOOST_TEST(print(here) == before);
}

BOOST_AUTO_TEST_CASE(f64_and_f32_are_cast_where_that_is_asked_for) {
  Sequential here = model(), there = model();
  there.to(DType::f64);
  BOOST_CHECK_EXCEPTION(here.load_state(there.state()), Error, says("but (4, 3) f64 is given"));
  here.load_state(there.state(), {.cast = true});
  BOOST_TEST(print(here) == print(there));  // values that were f32
  BOOST_TEST((here.state()[0].second.dtype() == DType::f32));
  Sequential back = model();
  back.to(DType::f64);
  back.load_state(here.state(), {.cast = true});
  BOOST_TEST(print(back) == print(here));
  NamedTensors values = there.state();
  values[1].second = full({4}, 1e300, DType::f64);
  values[0].second = arange(12);
  BOOST_CHECK_EXCEPTION(here.load_state(values, {.cast = true}), Error,
                        says("load: 0.weight is (4, 3) f32 here, but (12,) i64 is given\n"
                             "  0.bias is f32 here, which does not hold a number of the f64"));
  values[0].second = raw::reshape(arange(12), {4, 3});
  values[1].second = full({4}, INFINITY, DType::f64);
  BOOST_CHECK_EXCEPTION(here.load_state(values, {.cast = true}), Error,
                        says("(4, 3) f32 here, but (4, 3) i64 is given"));
  values[0].second = ones({4, 3});
  here.load_state(values, {.cast = true});
  BOOST_TEST(std::isinf(here.state()[1].second.at({0})));
}

// torch.nn.Module.state_dict's before PyTorch 0.4.1, and those of conversion scripts.
BOOST_AUTO_TEST_CASE(the_count_of_batches_may_be_missing) {
  Sequential here = model(), there = model();
  here(ones({5, 3}));
  there(ones({5, 3}));
  there(ones({5, 3}));
  NamedTensors values = there.state();
  std::erase_if(values, [](const auto& one) { return one.first == "1.num_batches_tracked"; });
  BOOST_TEST_REQUIRE(values.size() == there.state().size() - 1);
  const IncompatibleKeys keys = here.load_state(values);
  BOOST_TEST(keys.missing.empty());
  for (const auto& [path, tensor] : here.state()) {
    if (path == "1.num_batches_tracked")
      BOOST_TEST(tensor.item() == 1);
    else
      BOOST_TEST(tensor.is_contiguous());
  }
  std::erase_if(values, [](const auto& one) { return one.first == "1.running_mean"; });
  BOOST_CHECK_EXCEPTION(here.load_state(values), Error, says("load: no value for 1.running_mean"));
}

BOOST_AUTO_TEST_CASE(every_format_of_files) {
  for (const char* ending : {".safetensors", ".npz"}) {
    const std::string path = "test_load_" + std::to_string(::getpid()) + ending;
    Sequential here = model(), there = model();
    there.save(path);
    here.load(path);
    BOOST_TEST(print(here) == print(there));
    std::filesystem::remove(path);
  }
}

#include "tests/pytorch_samples/sample.h"

#include <fmt/ranges.h>

#include <cmath>

namespace gradus::samples {

namespace {

double number_of(const Json& value) {
  if (value.is_object() && value.contains("number"))
    return std::stod(value["number"].get<std::string>());
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_number()) throw Refused("a number was expected, not " + value.dump().substr(0, 60));
  return value.get<double>();
}

int64_t integer_of(const Json& value) {
  if (!value.is_number_integer())
    throw Refused("an integer was expected, not " + value.dump().substr(0, 60));
  return value.get<int64_t>();
}

}  // namespace

Sample::Sample(const Json& sample, const std::map<std::string, Tensor>& tensors)
    : sample_(sample), tensors_(tensors) {
  for (const Json& value : sample_["args"]) find_leaves(value);
  for (const Json& value : sample_["kwargs"]) find_leaves(value);
}

void Sample::find_leaves(const Json& value) {
  if (value.is_array())
    for (const Json& part : value) find_leaves(part);
  if (!value.is_object() || !value.contains("tensor") || !value.value("leaf", false)) return;
  const std::string key = value["tensor"];
  Tensor leaf = raw::clone(tensors_.at(key));
  leaf.set_requires_grad(true);
  made_[key] = leaf;
  leaves_.push_back(leaf);
}

Tensor Sample::decoded(const Json& value) const {
  if (value.is_null()) return {};
  if (!value.is_object() || !value.contains("tensor"))
    throw Refused("a tensor was expected, not " + value.dump().substr(0, 60));
  const std::string key = value["tensor"];
  const auto leaf = made_.find(key);
  return leaf != made_.end() ? leaf->second : tensors_.at(key);
}

const Json* Sample::given(size_t place, const char* name) {
  const Json& args = sample_["args"];
  const Json& kwargs = sample_["kwargs"];
  asked_.insert(name);
  asked_.insert(std::to_string(place));
  const Json* found = place < args.size()     ? &args[place]
                      : kwargs.contains(name) ? &kwargs[name]
                                              : nullptr;
  return found && !found->is_null() ? found : nullptr;
}

bool Sample::has(size_t place, const char* name) { return given(place, name) != nullptr; }

DType Sample::dtype() const {
  const std::string name = sample_["dtype"];
  return name == "float32"   ? DType::f32
         : name == "float64" ? DType::f64
         : name == "int64"   ? DType::i64
                             : DType::boolean;
}

std::optional<DType> Sample::dtype_of(size_t place, const char* name) {
  const Json* value = given(place, name);
  if (!value) return {};
  if (!value->is_object() || !value->contains("dtype")) throw Refused("a dtype was expected");
  const std::string which = (*value)["dtype"];
  for (const auto& [known, dtype] : {std::pair{"float32", DType::f32},
                                     {"float64", DType::f64},
                                     {"int64", DType::i64},
                                     {"bool", DType::boolean}})
    if (which == known) return dtype;
  throw Refused("there is no dtype " + which);
}

Tensor Sample::tensor(size_t place, const char* name) {
  const Json* value = given(place, name);
  return value ? decoded(*value) : Tensor();
}

bool Sample::is_tensor(size_t place, const char* name) {
  const Json* value = given(place, name);
  return value && value->is_object() && value->contains("tensor");
}

double Sample::number(size_t place, const char* name, double otherwise) {
  const Json* value = given(place, name);
  return value ? number_of(*value) : otherwise;
}
const Json& Sample::required(size_t place, const char* name) {
  const Json* value = given(place, name);
  if (!value) throw Refused(fmt::format("{} was not given", name));
  return *value;
}
double Sample::number(size_t place, const char* name) { return number_of(required(place, name)); }
int64_t Sample::integer(size_t place, const char* name, int64_t otherwise) {
  const Json* value = given(place, name);
  return value ? integer_of(*value) : otherwise;
}
int64_t Sample::integer(size_t place, const char* name) {
  return integer_of(required(place, name));
}
bool Sample::flag(size_t place, const char* name, bool otherwise) {
  const Json* value = given(place, name);
  return value ? number_of(*value) != 0 : otherwise;
}
std::string Sample::text(size_t place, const char* name, const std::string& otherwise) {
  const Json* value = given(place, name);
  if (value && !value->is_string()) throw Refused(fmt::format("{} is no text", name));
  return value ? value->get<std::string>() : otherwise;
}

std::vector<int64_t> Sample::integers(size_t place, const char* name) {
  const Json* value = given(place, name);
  if (!value) return {};
  if (!value->is_array()) return {integer_of(*value)};
  std::vector<int64_t> result;
  for (const Json& one : *value) result.push_back(integer_of(one));
  return result;
}

Shape Sample::shape(size_t place, const char* name) {
  const Json* value = given(place, name);
  std::vector<int64_t> sizes = integers(place, name);
  if (value && !value->is_array())
    for (size_t i = place + 1; i < count(); ++i) {
      given(i, name);
      sizes.push_back(integer_of(sample_["args"][i]));
    }
  return Shape(sizes);
}

Pair Sample::pair(size_t place, const char* name, int64_t otherwise) {
  const std::vector<int64_t> both = integers(place, name);
  if (both.empty()) return {otherwise, otherwise};
  return {both.front(), both.back()};
}

TensorList Sample::tensors(size_t place, const char* name) {
  const Json* value = given(place, name);
  TensorList result;
  if (value)
    for (const Json& one : *value) result.push_back(decoded(one));
  return result;
}

void Sample::ignore(size_t place, const char* name) { given(place, name); }

std::string Sample::unasked() const {
  std::string text;
  for (size_t i = 0; i < sample_["args"].size(); ++i)
    if (!asked_.contains(std::to_string(i)) && !sample_["args"][i].is_null())
      text += fmt::format(" argument {}", i);
  for (const auto& [name, value] : sample_["kwargs"].items())
    if (!asked_.contains(name) && !value.is_null())
      text += fmt::format(" {}={}", name, value.dump().substr(0, 30));
  return text;
}

void Sample::load(Module& module, const std::function<std::string(std::string)>& renamed) {
  NamedTensors values;
  for (const auto& [name, value] : sample_["state"].items())
    values.emplace_back(renamed ? renamed(name) : name, decoded(value));
  module.to(dtype());
  module.load_state(values);
  module.train(training());
  const auto parameters = module.named_parameters();
  std::map<std::string, Tensor> by_name;
  for (const auto& [name, parameter] : parameters) by_name.emplace(name, parameter);
  for (const Json& name : sample_["parameters"]) {
    const std::string own = renamed ? renamed(name) : name.get<std::string>();
    const auto found = by_name.find(own);
    if (found == by_name.end()) throw Refused("there is no parameter " + own);
    leaves_.push_back(found->second);
  }
}

}  // namespace gradus::samples

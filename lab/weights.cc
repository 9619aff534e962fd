#include "lab/weights.h"

#include <fmt/format.h>
#include <gradus/tensor/tensor_file.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

namespace gradus::lab {

namespace {

using Json = nlohmann::ordered_json;

/// The norm of numbers of any size, none of whose squares has to be one.
class Norm {
 public:
  void add(double x) {
    x = std::abs(x);
    if (x > largest_) {
      sum_ = sum_ * (largest_ / x) * (largest_ / x);
      largest_ = x;
    }
    if (x > 0) sum_ += (x / largest_) * (x / largest_);
  }
  double largest() const { return largest_; }
  double value() const { return largest_ * std::sqrt(sum_); }

 private:
  double largest_ = 0, sum_ = 0;
};

/// The elements as f64, which holds what weights are; of i64 the nearest.
std::vector<double> numbers(const Tensor& x) {
  return raw::cast(x, DType::f64).to_vector<double>();
}

/// The same exactly, of what is no fraction; of others none.
std::vector<int64_t> integers(const Tensor& x) {
  return is_floating(x.dtype()) ? std::vector<int64_t>() : x.to_vector<int64_t>();
}

Json listed(const std::string& tensor, const Tensor& x) {
  Norm norm;
  int64_t nan = 0, infinite = 0;
  for (const double value : numbers(x)) {
    nan += std::isnan(value);
    infinite += std::isinf(value);
    if (std::isfinite(value)) norm.add(value);
  }
  return {{"name", tensor},
          {"shape", std::vector(x.shape().begin(), x.shape().end())},
          {"dtype", name(x.dtype())},
          {"norm", norm.value()},
          {"largest", norm.largest()},
          {"nan", nan},
          {"infinite", infinite}};
}

Json difference(const Tensor& x, const Tensor& y) {
  if (x.shape() != y.shape()) return {{"shapes", {str(x.shape()), str(y.shape())}}};
  if (x.dtype() != y.dtype()) return {{"dtypes", {name(x.dtype()), name(y.dtype())}}};
  const std::vector<double> a = numbers(x), b = numbers(y);
  // Integers that no double tells apart differ all the same.
  const std::vector<int64_t> i = integers(x), k = integers(y);
  Norm first, norm;
  int64_t differ = 0;
  for (size_t n = 0; n < a.size(); ++n) {
    if (std::isfinite(a[n])) first.add(a[n]);
    if (i.empty() ? a[n] == b[n] || (std::isnan(a[n]) && std::isnan(b[n])) : i[n] == k[n]) continue;
    ++differ;
    if (std::isfinite(a[n]) && std::isfinite(b[n])) norm.add(a[n] - b[n]);
  }
  if (differ == 0) return {{"equal", true}};
  return {{"differ", differ},
          {"norm", norm.value()},
          {"relative", norm.value() / first.value()},
          {"largest", norm.largest()}};
}

/// Rows with columns as wide as their widest cell, the first to the left.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i)
      text += i == 0 ? fmt::format("{:<{}}", row[i], widths[i])
                     : fmt::format("  {:>{}}", row[i], widths[i]);
    text += '\n';
  }
  return text;
}

std::string shown(const Json& number) {
  return number.is_null() ? "-" : fmt::format("{:.6g}", number.get<double>());
}

}  // namespace

nlohmann::ordered_json list_weights(const std::string& path) {
  Json all = Json::array();
  int64_t count = 0;
  for (const auto& [name, x] : load_tensors(path)) {
    all.push_back(listed(name, x));
    count += x.numel();
  }
  return {{"file", path}, {"tensors", std::move(all)}, {"numbers", count}};
}

std::string weights_table(const nlohmann::ordered_json& weights) {
  std::vector<std::vector<std::string>> rows{
      {"name", "shape", "dtype", "norm", "largest", "NaN", "infinite"}};
  for (const Json& one : weights["tensors"])
    rows.push_back({one["name"].get<std::string>(),
                    str(Shape(std::span<const int64_t>(one["shape"].get<std::vector<int64_t>>()))),
                    one["dtype"].get<std::string>(), shown(one["norm"]), shown(one["largest"]),
                    one["nan"].dump(), one["infinite"].dump()});
  return table(rows) + fmt::format("{} tensors, {} numbers", weights["tensors"].size(),
                                   weights["numbers"].get<int64_t>());
}

nlohmann::ordered_json compare_weights(const std::string& path, const std::string& other) {
  const NamedTensors a = load_tensors(path), b = load_tensors(other);
  const std::map<std::string, Tensor> first(a.begin(), a.end()), second(b.begin(), b.end());
  Json all = Json::array();
  bool equal = true;
  const auto add = [&](const std::string& name, const Json& what) {
    Json row{{"name", name}};
    row.update(what);
    all.push_back(std::move(row));
    equal = equal && what.contains("equal");
  };
  for (const auto& [name, x] : a) {
    const auto found = second.find(name);
    add(name, found == second.end() ? Json{{"only in", path}} : difference(x, found->second));
  }
  for (const auto& [name, y] : b)
    if (!first.contains(name)) add(name, {{"only in", other}});
  return {{"files", {path, other}}, {"tensors", std::move(all)}, {"equal", equal}};
}

std::string comparison_table(const nlohmann::ordered_json& comparison) {
  if (comparison["equal"].get<bool>())
    return fmt::format("equal: {} tensors", comparison["tensors"].size());
  std::vector<std::vector<std::string>> rows{
      {"name", "differ", "norm of the difference", "relative", "largest"}};
  for (const Json& one : comparison["tensors"]) {
    const std::string name = one["name"].get<std::string>();
    if (one.contains("differ"))
      rows.push_back({name, one["differ"].dump(), shown(one["norm"]), shown(one["relative"]),
                      shown(one["largest"])});
    else if (one.contains("only in"))
      rows.push_back({name, "only in " + one["only in"].get<std::string>()});
    else if (!one.contains("equal"))
      for (const auto& [key, values] : one.items())
        if (key != "name")
          rows.push_back({name, fmt::format("{} {} and {}", key, values[0].get<std::string>(),
                                            values[1].get<std::string>())});
  }
  std::string text = table(rows);
  text.pop_back();
  return text;
}

}  // namespace gradus::lab

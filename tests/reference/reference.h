#pragma once
#include <gradus/tensor/safetensors.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <string>
#include <vector>

namespace gradus::test {

/// What PyTorch computed in one case (see make_reference.py): tensors by what they are.
struct Case {
  std::string name;
  std::map<std::string, Tensor> tensors;

  bool has(const std::string& key) const { return tensors.contains(key); }
  /// An error if there is none.
  const Tensor& at(const std::string& key) const {
    const auto found = tensors.find(key);
    check(found != tensors.end(), "{}: no {}", name, key);
    return found->second;
  }
  /// The tensors called `what` and a number: prefix "x" finds x0, x1, ...
  std::map<int, Tensor> numbered(const std::string& what) const {
    std::map<int, Tensor> found;
    for (const auto& [key, tensor] : tensors)
      if (key.size() > what.size() && key.starts_with(what) &&
          key.find_first_not_of("0123456789", what.size()) == std::string::npos)
        found[std::stoi(key.substr(what.size()))] = tensor;
    return found;
  }
  /// The tensors called `what` and a dot, by the rest of their name.
  std::vector<std::pair<std::string, Tensor>> named(const std::string& what) const {
    std::vector<std::pair<std::string, Tensor>> found;
    for (const auto& [key, tensor] : tensors)
      if (key.starts_with(what + ".")) found.emplace_back(key.substr(what.size() + 1), tensor);
    return found;
  }
};

/// A copy, a floating one in `dtype`; the cases' are f64.
inline Tensor in(DType dtype, const Tensor& x) {
  return raw::clone(is_floating(x.dtype()) ? raw::cast(x, dtype) : x);
}

inline std::map<std::string, Case> load_cases(const std::string& file) {
  std::map<std::string, Case> cases;
  for (const auto& [key, tensor] : load_safetensors(GRADUS_REFERENCE_DIR "/" + file)) {
    const size_t slash = key.find('/');
    Case& c = cases[key.substr(0, slash)];
    c.name = key.substr(0, slash);
    c.tensors[key.substr(slash + 1)] = in(DType::f64, tensor);
  }
  return cases;
}

/// The same elements far apart in memory, the first axis innermost.
inline Tensor scattered(const Tensor& x) {
  if (x.ndim() == 0) return raw::clone(x);
  int64_t strides[Shape::kMaxDims], room = 3;
  for (int i = 0; i < x.ndim(); ++i) {
    strides[i] = room;
    room *= std::max<int64_t>(1, x.shape()[i]);
  }
  Tensor memory = zeros({room + 1}, x.dtype());
  Tensor view = as_strided(memory, x.shape(), {strides, static_cast<size_t>(x.ndim())}, 1);
  raw::copy(x, view);
  return view;
}

/// |y - expected| <= tolerance max(1, |expected|) everywhere, or equal where not floating. f64:
/// 1e-13, which is 900 roundings of 2^-53, since both sides round. f32: `roundings` of 2^-24.
/// dtype: of what y was computed from.
inline void check_same(const std::string& what, const Tensor& y, const Tensor& expected,
                       DType dtype, int roundings) {
  BOOST_TEST_REQUIRE(bool(y), what << ": there is no result");
  BOOST_TEST_REQUIRE(str(y.shape()) == str(expected.shape()), what);
  const bool floating = is_floating(expected.dtype());
  BOOST_TEST((y.dtype() == expected.dtype() || (floating && y.dtype() == dtype)),
             what << ": dtype " << name(y.dtype()));
  const double tolerance = !floating ? 0 : y.dtype() == DType::f32 ? roundings * 0x1p-24 : 1e-13;
  const auto values = y.to_vector<double>(), wanted = expected.to_vector<double>();
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == wanted[i]) continue;
    const double error = std::abs(values[i] - wanted[i]) / std::max(1.0, std::abs(wanted[i]));
    if (error > worst || std::isnan(error)) worst = error, at = i;
  }
  BOOST_TEST(worst <= tolerance, what << " at " << str(unravel(static_cast<int64_t>(at), y.shape()))
                                      << ": " << values[at] << ", PyTorch has " << wanted[at]);
}

/// Calls f with each case and the row of its name, which is what stands before a colon; every case
/// has a row, every row a case.
template <class Row, class F>
void for_each_case(const std::map<std::string, Case>& cases, std::vector<Row> rows, F f) {
  std::map<std::string, std::pair<Row, bool>> table;  // and whether a case used it
  for (Row& row : rows) {
    const std::string name = row.name;
    BOOST_TEST(table.emplace(name, std::pair{std::move(row), false}).second,
               "two rows are called " << name);
  }
  for (const auto& [name, c] : cases) {
    const auto row = table.find(name.substr(0, name.find(':')));
    BOOST_TEST(bool(row != table.end()), "the case " << name << " has no row");
    if (row == table.end()) continue;
    row->second.second = true;
    BOOST_TEST_CONTEXT(name) { f(c, row->second.first); }
  }
  for (const auto& [name, row] : table)
    BOOST_TEST(row.second, "the row " << name << " has no case");
}

}  // namespace gradus::test

// A program that is strict about warnings, and that has other libraries' macros.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <complex>
#include <concepts>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <ostream>
#include <random>
#include <ranges>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

// clang-format off
#include "macros.h"
#include <gradus/gradus.h>
// clang-format on

namespace {

class MyModel : public gradus::Module {
 public:
  gradus::Tensor forward(const gradus::Tensor& x) { return head(gradus::relu(body(x))); }
  std::string describe() const override { return "MyModel()"; }
  void visit(gradus::Visitor& visitor) override {
    visitor.module("body", body);
    visitor.module("head", head);
  }

  gradus::Linear body{3, 4}, head{4, 2};
};

}  // namespace

int main() {
  gradus::Tensor x = gradus::Tensor::of({1, 2, 3}).set_requires_grad();
  gradus::Tape tape;
  tape.backward((gradus::max)(gradus::square(x)));
  const gradus::Function product(
      [](const gradus::Tensor& a, const gradus::Tensor& b) { return a * b; });
  (gradus::check)(x.numel() == 3, "three, not {}", x.numel());
  MyModel model;
  const gradus::Dataset data{.x = gradus::Tensor::of({{1, 2, 3}, {4, 5, 6}}),
                             .y = gradus::Tensor::of({0, 1}, gradus::DType::i64)};
  const gradus::Evaluation evaluation = gradus::evaluate(model, data);
  const std::string text =
      fmt::format("{} {:>9} {} {:.3}", x.dtype(), x.shape(), evaluation.loss, x);
  const std::vector<double> doubles = x.to_vector<double>();
  const std::vector<int> whole = gradus::Tensor::of({1, 2}).to_vector<int>();
  const gradus::Tensor floats = gradus::Tensor::from(doubles, {3});
  std::printf("%s %g %d %g\n", text.c_str(), doubles[0], whole[0], floats.at({0}));
  return 0;
}

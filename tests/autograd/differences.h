#pragma once
#include <gradus/autograd/op.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/sample.h>
#include <gradus/autograd/tape.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace gradus::test {

using Function = std::function<Tensor(std::span<const Tensor>)>;

/// sum f(x) u for a fixed random u.
inline Tensor projected(const Function& f, std::span<const Tensor> x, uint64_t seed) {
  const Tensor y = f(x);
  return sum(y * sample(y.shape(), seed, -1, 1).set_requires_grad(false));
}

/// d(scalar)/dx_i for every element, by central differences with one Richardson step.
inline std::vector<std::vector<double>> differences(const std::function<double()>& scalar,
                                                    std::span<const Tensor> x) {
  std::vector<std::vector<double>> result;
  for (Tensor xi : x) {
    std::vector<double> dx;
    for (int64_t k = 0; k < xi.numel(); ++k) {
      const double centre = xi.data<double>()[k];
      const auto slope = [&](double h) {
        xi.mutable_data<double>()[k] = centre + h;
        const double upper = scalar();
        xi.mutable_data<double>()[k] = centre - h;
        const double lower = scalar();
        xi.mutable_data<double>()[k] = centre;
        return (upper - lower) / (2 * h);
      };
      dx.push_back((4 * slope(5e-4) - slope(1e-3)) / 3);
    }
    result.push_back(std::move(dx));
  }
  return result;
}

inline void compare(const std::string& what, std::span<const Tensor> gradients,
                    const std::vector<std::vector<double>>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    double size = 0;
    for (double e : expected[i]) size = std::max(size, std::abs(e));
    const std::vector<double> dx = gradients[i] ? gradients[i].to_vector<double>()
                                                : std::vector<double>(expected[i].size(), 0.0);
    for (size_t k = 0; k < dx.size(); ++k)
      BOOST_TEST(std::abs(dx[k] - expected[i][k]) <= 1e-8 * std::max(1.0, size),
                 what << ": input " << i << " element " << k << ": " << dx[k] << ", not "
                      << expected[i][k]);
  }
}

/// First and second derivatives of f at x (contiguous f64 leaves) against differences.
inline void check_derivatives(const std::string& what, const Function& f,
                              std::span<const Tensor> x) {
  const auto first = [&](CreateGraph create_graph, Tape& tape) {
    return tape.gradient(projected(f, x, 101), x,
                         {.create_graph = create_graph, .allow_unused = true});
  };
  {
    Tape tape;
    const std::vector<Tensor> dx = first(CreateGraph::no, tape);
    compare(what, dx, differences([&] { return NoRecord(), projected(f, x, 101).item(); }, x));
  }
  // A scalar made of the gradients; its gradient needs every second derivative.
  const auto of_gradients = [&](const std::vector<Tensor>& dx) {
    Tensor total;
    for (size_t i = 0; i < dx.size(); ++i) {
      if (!dx[i]) continue;
      const Tensor v = sample(dx[i].shape(), 202 + i, -1, 1).set_requires_grad(false);
      total = total ? total + sum(dx[i] * v) : sum(dx[i] * v);
    }
    return total;
  };
  Tape tape;
  const Tensor scalar = of_gradients(first(CreateGraph::yes, tape));
  std::vector<Tensor> ddx(x.size());  // stays empty where the gradients are constant
  if (scalar.tape() == tape.serial()) ddx = tape.gradient(scalar, x, {.allow_unused = true});
  compare(what + ", second order", ddx,
          differences(
              [&] {
                Tape inner;
                return of_gradients(first(CreateGraph::no, inner)).item();
              },
              x));
}

/// The same for every sample of an op.
inline void check_op(const char* name) {
  const Op* op = find_op(name);
  BOOST_REQUIRE(op);
  BOOST_REQUIRE(op->samples);
  for (const OpSample& s : op->samples())
    check_derivatives(std::string(name) + " " + s.label, s.f, s.inputs);
}

/// Whether an Error's message contains `text`.
inline auto says(std::string text) {
  return [text](const Error& e) {
    const bool found = std::string(e.what()).find(text) != std::string::npos;
    if (!found) BOOST_TEST_MESSAGE("the message was: " << e.what());
    return found;
  };
}

}  // namespace gradus::test

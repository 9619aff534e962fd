// Helpers round as their caller does: equal bits on any number of threads in every mode.
#define BOOST_TEST_MODULE float_mode
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/tape.h>
#include <gradus/kernels/runtime/float_mode.h>
#include <gradus/optim/adam.h>
#include <gradus/tensor/random.h>
#include <gradus/tensor/runtime.h>

#include <boost/test/unit_test.hpp>
#include <cfenv>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "tests/checks.h"

using namespace gradus;

namespace {

const int shared = setenv("GRADUS_SMALL_JOBS", "shared", 1);

struct Mode {
  const char* name;
  std::function<void()> set;
};

const std::vector<Mode> modes = {
    {"to nearest", [] { std::fesetround(FE_TONEAREST); }},
    {"up", [] { std::fesetround(FE_UPWARD); }},
    {"down", [] { std::fesetround(FE_DOWNWARD); }},
    {"to zero", [] { std::fesetround(FE_TOWARDZERO); }},
#if defined(__x86_64__)
    {"denormals are zero", [] { kernels::set_float_mode(kernels::float_mode() | 0x8040); }},
    {"denormal results are zero", [] { kernels::set_float_mode(kernels::float_mode() | 0x8000); }},
#elif defined(__aarch64__)
    {"denormals are zero", [] { kernels::set_float_mode(kernels::float_mode() | 1 << 24); }},
#endif
};

struct PutBack {
  kernels::FloatMode mode = kernels::float_mode();
  ~PutBack() { kernels::set_float_mode(mode); }
};

struct Case {
  const char* name;
  std::vector<Shape> shapes;
  double scale;  // of the leaves
  Tensor (*f)(const std::vector<Tensor>& x);
};

const std::vector<Case> cases = {
    {"add", {{70, 1000}}, 1e-38, [](auto& x) { return x[0] * 0.3 + 1e-39; }},
    {"mul", {{70, 1000}}, 1e-20, [](auto& x) { return x[0] * x[0]; }},
    {"exp", {{70, 1000}}, 30, [](auto& x) { return exp(x[0] - 80.0); }},
    {"gelu", {{70, 1000}}, 1, [](auto& x) { return gelu(x[0]); }},
    {"sum of rows", {{70, 1000}}, 1e-38, [](auto& x) { return sum(x[0], {1}); }},
    {"sum of columns", {{70, 1000}}, 1e-38, [](auto& x) { return sum(x[0], {0}); }},
    {"product", {{100, 120}, {120, 130}}, 1e-20, [](auto& x) { return matmul(x[0], x[1]); }},
    {"large product", {{512, 256}, {256, 300}}, 1, [](auto& x) { return matmul(x[0], x[1]); }},
    {"softmax", {{70, 1000}}, 20, [](auto& x) { return softmax(x[0], -1); }},
    {"layer norm",
     {{70, 1000}, {1000}, {1000}},
     1,
     [](auto& x) { return layer_norm(x[0], Shape{1000}, x[1], x[2]); }},
    {"convolution",
     {{4, 16, 24, 24}, {16, 16, 3, 3}},
     1,
     [](auto& x) {
       return conv2d(x[0], x[1], {}, {.padding = {1, 1}});
     }},
    {"attention",
     {{2, 4, 64, 32}, {2, 4, 64, 32}, {2, 4, 64, 32}},
     1,
     [](auto& x) { return scaled_dot_product_attention(x[0], x[1], x[2]); }},
};

using Bits = std::vector<std::vector<double>>;

/// The result, its gradients, and the leaves after a step of Adam.
Bits bits(const Case& one, DType dtype) {
  Generator generator(3);
  std::vector<Tensor> leaves;
  for (const Shape& shape : one.shapes)
    leaves.push_back((randn(shape, generator, dtype) * one.scale).set_requires_grad());
  Adam optimizer(leaves);
  Bits all;
  {
    Tape tape;
    const Tensor y = one.f(leaves);
    all.push_back(y.to_vector<double>());
    tape.backward(y, {.dy = ones_like(y)});
  }
  for (const Tensor& leaf : leaves) all.push_back(leaf.grad().to_vector<double>());
  optimizer.step();
  for (const Tensor& leaf : leaves) all.push_back(leaf.to_vector<double>());
  return all;
}

bool alike(const Bits& a, const Bits& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(double)) != 0) return false;
  return a.size() == b.size();
}

}  // namespace

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads_in_any_mode, *test::repeats) {
  set_threads(3);
  bits(cases[0], DType::f32);  // the helpers begin to round to nearest
  for (const DType dtype : {DType::f32, DType::f64})
    for (const Case& one : cases) {
      Bits nearest;
      int different = 0;
      for (const Mode& mode : modes) {
        const PutBack put_back;
        mode.set();
        set_threads(1);
        const Bits expected = bits(one, dtype);
        for (const int count : {2, 3}) {
          set_threads(count);
          if (!alike(bits(one, dtype), expected))
            BOOST_ERROR(one.name << " " << name(dtype) << " rounding " << mode.name << " on "
                                 << count << " threads");
        }
        if (nearest.empty()) nearest = expected;
        different += !alike(expected, nearest);
      }
      BOOST_TEST(different >= 3, one.name << ": modes that make a difference: " << different);
    }
}

// A helper serves callers of several modes, one after another.
BOOST_AUTO_TEST_CASE(the_mode_is_that_of_each_job) {
  const Case& one = cases[6];
  std::vector<Bits> expected;
  for (const int count : {1, 2})
    for (int round = 0; round < 2; ++round)
      for (size_t i = 0; i < modes.size(); ++i) {
        const PutBack put_back;
        modes[i].set();
        set_threads(count);
        const Bits now = bits(one, DType::f32);
        if (expected.size() == i) expected.push_back(now);
        BOOST_TEST(alike(now, expected[i]), modes[i].name);
      }
}

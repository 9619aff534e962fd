#define BOOST_TEST_MODULE gradcheck_oracles
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/gradcheck/oracles.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/kernels/gemm/gemm.h>
#include <gradus/kernels/gemm/naive.h>
#include <gradus/kernels/norm/naive.h>
#include <gradus/kernels/norm/norm.h>
#include <gradus/kernels/reduce/naive.h>
#include <gradus/kernels/reduce/reduce.h>
#include <gradus/kernels/softmax/naive.h>
#include <gradus/kernels/softmax/softmax.h>
#include <gradus/tensor/safetensors.h>

#include <boost/math/differentiation/autodiff.hpp>
#include <cstdio>

#include "tests/checks.h"
#include "tests/gradcheck/spoiled.h"

using namespace gradus;
using test::says;
using test::Spoiled;
using test::wave;

namespace naive = kernels::naive;

namespace {

using Dual = decltype(boost::math::differentiation::make_fvar<double, 1>(0));

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const Function kLayerNorm = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return layer_norm(x, {5}, w, b);
};

std::vector<Tensor> norm_inputs() {
  return {sample({4, 5}, 1), sample({5}, 2, 0.5, 2), sample({5}, 3)};
}

using Duals = std::vector<Dual>;

/// An op beside its definition, which fills y from the inputs' elements.
struct Defined {
  const char* what;
  Function f;
  std::vector<Tensor> inputs;
  std::function<void(std::vector<Duals>& in, Duals& y)> definition;
};

/// The definition's derivatives in dual numbers.
JacobianColumn exact_column(const Defined& d) {
  return [&d](size_t input, int64_t entry) {
    std::vector<Duals> in;
    for (const Tensor& x : d.inputs) {
      const std::vector<double> values = x.to_vector<double>();
      in.emplace_back(values.begin(), values.end());
    }
    Dual& at = in[input][static_cast<size_t>(entry)];
    at = boost::math::differentiation::make_fvar<double, 1>(at.derivative(0));
    const NoRecord pause;
    Duals y(static_cast<size_t>(d.f(d.inputs).numel()));
    d.definition(in, y);
    std::vector<double> column;
    for (const Dual& value : y) column.push_back(value.derivative(1));
    return column;
  };
}

const Defined kDefinedNorm{
    "layer_norm", kLayerNorm, norm_inputs(), [](std::vector<Duals>& in, Duals& y) {
      naive::row_norm<Dual>({4, 1, 5}, 1e-5, {in[0].data(), nullptr, in[1].data(), in[2].data()},
                            y.data());
    }};

std::vector<Defined> defined_ops() {
  const Tensor labels = Tensor::of({2, 0, 4, 1}, DType::i64);
  return {
      kDefinedNorm,
      {"batch_norm",
       [](const Tensor& x, const Tensor& w, const Tensor& b) { return batch_norm(x, w, b).y; },
       norm_inputs(),
       [](std::vector<Duals>& in, Duals& y) {
         const kernels::Channels shape{4, 5, 1};
         Duals mean(5), var(5);
         naive::batch_norm_stats<Dual>(shape, in[0].data(), nullptr, mean.data(), var.data());
         naive::batch_norm_normalize<Dual>(shape, 1e-5,
                                           {in[0].data(), nullptr, in[1].data(), in[2].data()},
                                           mean.data(), var.data(), y.data());
       }},
      {"softmax",
       [](const Tensor& x) { return softmax(x); },
       {sample({4, 5}, 1)},
       [](std::vector<Duals>& in, Duals& y) {
         naive::softmax<Dual>(4, 5, in[0].data(), y.data());
       }},
      {"log_softmax",
       [](const Tensor& x) { return log_softmax(x); },
       {sample({4, 5}, 1)},
       [](std::vector<Duals>& in, Duals& y) {
         naive::log_softmax<Dual>(4, 5, in[0].data(), y.data());
       }},
      {"cross_entropy",
       [=](const Tensor& x) { return cross_entropy(x, labels, {.reduction = Reduction::none}); },
       {sample({4, 5}, 1)},
       [=](std::vector<Duals>& in, Duals& y) {
         naive::cross_entropy<Dual>(4, 5, in[0].data(), labels.data<int64_t>(), nullptr, {},
                                    y.data());
       }},
      {"gelu",
       [](const Tensor& x) { return gelu(x); },
       {sample({4, 5}, 1)},
       [](std::vector<Duals>& in, Duals& y) {
         for (size_t k = 0; k < y.size(); ++k)
           y[k] = in[0][k] * 0.5 * (1.0 + erf(in[0][k] * std::sqrt(0.5)));
       }},
      {"matmul",
       [](const Tensor& a, const Tensor& b) { return matmul(a, b); },
       {sample({4, 5}, 1), sample({5, 3}, 2)},
       [](std::vector<Duals>& in, Duals& y) {
         using kernels::Transpose;
         naive::gemm<Dual>({Transpose::no, Transpose::no, 4, 3, 5, Dual(1), in[0].data(), 5,
                            in[1].data(), 3, Dual(0), y.data(), 3});
       }},
      {"sum",
       [](const Tensor& x) { return sum(x, {0}); },
       {sample({4, 5}, 1)},
       [](std::vector<Duals>& in, Duals& y) { naive::sum<Dual>(1, 4, 5, in[0].data(), y.data()); }},
  };
}

Spoiled spoiled_norm(double factor) {
  return {kLayerNorm,
          [=](auto, auto, std::vector<Tensor>& dx) { dx[1].mutable_data<double>()[2] *= factor; }};
}

}  // namespace

BOOST_AUTO_TEST_CASE(dual_numbers_of_the_definitions) {
  for (const Defined& d : defined_ops())
    BOOST_TEST(gradcheck_against(exact_column(d), d.f, d.inputs), d.what);
  const std::vector<Tensor> inputs = norm_inputs();
  // No differences, so errors far below what those can see.
  const Spoiled f = spoiled_norm(1 + 1e-11);
  const GradcheckReport wrong = gradcheck_against(
      exact_column(kDefinedNorm), [&](std::span<const Tensor> x) { return f(x); }, inputs);
  BOOST_TEST(!wrong);
  BOOST_TEST(wrong.inputs[1].where == "entries [2]; 1 of 5", wrong);
  BOOST_CHECK_EXCEPTION(
      gradcheck_against([](size_t, int64_t) { return std::vector<double>(3); }, kLayerNorm, inputs),
      Error, says("3 derivatives by entry 0 of input 0, but the result has 20"));
}

// PyTorch 2.13, f64: F.gelu(F.linear(x, w, b)) of x = 1.5 sin(0.7 i) + 0.2, w = sin(1.1 i),
// b = 0.5 sin(0.9 i), dy = sin(1.3 i), i from 1.
BOOST_AUTO_TEST_CASE(a_file_of_pytorchs) {
  const auto f64 = [](std::vector<double> values, const Shape& shape) {
    return Tensor::from(values, shape);
  };
  std::vector<std::pair<std::string, Tensor>> tensors = {
      {"x", wave({3, 4}, 1.5, 0.7, 0.2)},
      {"w", wave({2, 4}, 1, 1.1)},
      {"b", wave({2}, 0.5, 0.9)},
      {"dy", wave({3, 2}, 1, 1.3)},
      {"y", f64({1.8274686725565499, 2.0354553017726564, 0.06415235224204768, -0.12287673877738689,
                 -0.05616543968371677, 3.2244618741718782},
                {3, 2})},
      {"x.grad",
       f64({0.550832409294958, 1.0281216083026696, 0.381871538464877, -0.681690710841697,
            -0.44280899805823515, -0.2948740928154001, 0.17530150843833275, 0.45390626143076174,
            -0.6321677202871915, 0.3828358502491412, 0.9794734339185384, 0.5057348510805397},
           {3, 4})},
      {"w.grad",
       f64({1.3860977350720296, 2.3290151824698015, 2.2457871040122153, 1.1755569654724725,
            0.8373642523692477, 1.998913454386082, 2.377665823560723, 1.7954882025013186},
           {2, 4})},
      {"b.grad", f64({0.7359600934248319, 1.6725300004194414}, {2})}};
  const std::string path = "test_gradcheck_oracles.safetensors";
  const std::vector<std::string> names{"x", "w", "b"};
  const auto exact = [](const Tensor& x, const Tensor& w, const Tensor& b) {
    return gelu(linear(x, w, b));
  };
  save_safetensors(path, tensors);
  const GradcheckReport right = gradcheck_file(path, names, exact);
  BOOST_TEST(right);
  BOOST_TEST(right.entries == 22);
  // The other gelu is another function: value and gradients differ, and by little.
  const GradcheckReport other =
      gradcheck_file(path, names, [](const Tensor& x, const Tensor& w, const Tensor& b) {
        return gelu(linear(x, w, b), GeluForm::tanh);
      });
  BOOST_TEST(!other);
  BOOST_TEST(other.faults.size() == 1);
  BOOST_TEST(contains(other.text(), "the function's result is not the file's y"), other);
  BOOST_TEST(
      contains(other.text(), "again: gradcheck_file(\"" + path + "\", {\"x\", \"w\", \"b\"}"),
      other);

  BOOST_CHECK_EXCEPTION(gradcheck_file(path, {"x", "v", "b"}, exact), Error,
                        says("has no tensor \"v\""));
  tensors[3].second = wave({3, 3}, 1, 1.3);
  save_safetensors(path, tensors);
  BOOST_CHECK_EXCEPTION(gradcheck_file(path, names, exact), Error,
                        says("dy is (3, 3), but the function's result (3, 2)"));
  std::remove(path.c_str());
}

BOOST_AUTO_TEST_CASE(f32_kernels_against_f64_ones) {
  for (const Defined& d : defined_ops()) {
    const GradcheckReport report = gradcheck_f32(d.f, d.inputs);
    BOOST_TEST(report, d.what << report);
  }
  const std::vector<Tensor> inputs = {sample({6, 40}, 1), sample({40}, 2, 0.5, 2), sample({40}, 3)};
  const Function norm = [](const Tensor& x, const Tensor& w, const Tensor& b) {
    return layer_norm(x, {40}, w, b);
  };
  const GradcheckReport right = gradcheck_f32(norm, inputs);
  BOOST_TEST(right);
  BOOST_TEST(contains(right.method, "ulps apart, 32 allowed"), right);
  // An error of 1e-4 is far above that, and far below what differences in f32 could see.
  const Spoiled wrong(norm, [](std::span<const Tensor> x, auto, std::vector<Tensor>& dx) {
    if (x[0].dtype() == DType::f32) dx[1] = dx[1] * 1.0001;
  });
  const GradcheckReport report =
      gradcheck_f32([&](std::span<const Tensor> x) { return wrong(x); }, inputs);
  BOOST_TEST(!report);
  BOOST_TEST((report.inputs[1].diagnosis.pattern == Pattern::factor), report);
  BOOST_TEST(report.inputs[0].counts.disagree == 0);
  BOOST_TEST(!gradcheck_f32(norm, inputs, 0.01));
  BOOST_CHECK_EXCEPTION(gradcheck_f32([](const Tensor& x) { return cast(x, DType::f64) * 2.0; },
                                      std::vector{inputs[0]}),
                        Error, says("gives f64 for f32 and f64 for f64 inputs"));
}

BOOST_AUTO_TEST_CASE(taylor_remainders_fall_as_h_squared) {
  const std::vector<Tensor> inputs = {sample({3, 4}, 1), sample({4, 2}, 2)};
  const Function f = [](const Tensor& a, const Tensor& b) {
    return gradus::exp(matmul(gradus::tanh(a), b));
  };
  const GradcheckReport right = gradcheck_taylor(f, inputs);
  BOOST_TEST(right);
  BOOST_TEST(std::abs(right.inputs[0].worst.analytic - 2) < 0.05, right);
  const Spoiled wrong(f, [](auto, auto, std::vector<Tensor>& dx) { dx[1] = dx[1] * 1.01; });
  const GradcheckReport report =
      gradcheck_taylor([&](std::span<const Tensor> x) { return wrong(x); }, inputs);
  BOOST_TEST(report.inputs[0].counts.agree == 1);
  BOOST_TEST(report.inputs[1].counts.disagree == 1);
  BOOST_TEST(std::abs(report.inputs[1].worst.analytic - 1) < 0.1, report);
  // Linear functions leave no remainder.
  BOOST_TEST(
      gradcheck_taylor([](const Tensor& x) { return sum(x * 3.0); }, std::vector{inputs[0]}));
}

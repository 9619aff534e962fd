// Every function that takes a tensor takes any strides: its results and their derivatives are those
// of contiguous copies, bit for bit but for large products.
#define BOOST_TEST_MODULE strides
#include <gradus/autograd/functional/functional.h>
#include <gradus/data/augment.h>
#include <gradus/data/loader.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradcheck/norm_invariants.h>
#include <gradus/gradcheck/oracles.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/gradus.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/checks.h"
#include "tests/layouts.h"

using namespace gradus;
using test::laid_out;
using test::Layout;
using test::layouts;

namespace {

using Args = std::vector<Tensor>;
using Results = std::vector<Tensor>;

/// Public functions, and tensors to call them with: all of those that they take, indices and masks
/// among them.
struct Call {
  std::string name;  ///< theirs, with spaces between them
  Args args;
  std::function<Results(std::span<const Tensor>)> f;
  /// What rounding may make of another order of a product's sums, relative to the largest result:
  /// kernels for large ones go by what lies side by side.
  double tolerance = 0;
};

/// A one-result function.
Call call(std::string name, Args args, std::function<Tensor(std::span<const Tensor>)> f,
          double tolerance = 0) {
  return {std::move(name), std::move(args),
          [f = std::move(f)](std::span<const Tensor> x) { return Results{f(x)}; }, tolerance};
}

Tensor numbers(const Shape& shape, uint64_t seed, double low = -2, double high = 2) {
  return sample(shape, seed, low, high).set_requires_grad(false);
}
Tensor mask(const Shape& shape, uint64_t seed = 5) { return less(numbers(shape, seed), 0.9); }
Tensor indices(const Shape& shape, int64_t n, uint64_t seed = 5) {
  Generator generator(seed);
  return randint(0, n, shape, generator);
}

/// dy in a layout of its own.
Tensor upstream(const Tensor& y, bool strided) {
  Tensor dy = raw::cast(numbers(y.shape(), 77), y.dtype());
  const std::vector<Layout> all = layouts(y.shape());
  return strided && all.size() > 1 ? laid_out(dy, all[1]) : dy;
}

/// f's results, their gradients by the floating arguments, and the gradients of the first of those.
Results derivatives(const Call& call, const Args& args, bool strided) {
  Args leaves;
  for (const Tensor& x : args)
    if (x && is_floating(x.dtype())) leaves.push_back(Tensor(x).set_requires_grad());
  Tape tape;
  Results all = call.f(args);
  const size_t count = all.size();
  for (size_t i = 0; i < count; ++i) {
    if (!all[i] || all[i].tape() != tape.serial()) continue;
    const Results dx = tape.gradient(
        all[i], leaves,
        {.create_graph = CreateGraph::yes, .dy = upstream(all[i], strided), .allow_unused = true});
    for (const Tensor& d : dx) {
      if (!d) continue;
      all.push_back(d);
      if (d.tape() != tape.serial()) continue;
      for (const Tensor& dd : tape.gradient(
               d, leaves, {.keep_graph = true, .dy = upstream(d, strided), .allow_unused = true}))
        all.push_back(dd);
    }
    // And the sweep that records nothing, which has kernels of its own.
    for (const Tensor& d :
         tape.gradient(all[i], leaves,
                       {.keep_graph = true, .dy = upstream(all[i], strided), .allow_unused = true}))
      all.push_back(d);
  }
  for (Tensor& x : leaves) x.set_requires_grad(false);
  return all;
}

/// Where y and the expected differ by more than rounding may make; empty if nowhere.
std::string difference(const Tensor& y, const Tensor& expected, double tolerance) {
  if (!y || !expected) return bool(y) == bool(expected) ? "" : "only one is there";
  if (y.shape() != expected.shape() || y.dtype() != expected.dtype())
    return fmt::format("{} {} for {} {}", y.shape(), y.dtype(), expected.shape(), expected.dtype());
  const std::vector<double> a = y.to_vector<double>(), b = expected.to_vector<double>();
  double largest = 0;
  for (double value : b)
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  for (size_t k = 0; k < a.size(); ++k) {
    if (a[k] == b[k] || (std::isnan(a[k]) && std::isnan(b[k]))) continue;
    if (std::abs(a[k] - b[k]) <= tolerance * largest) continue;
    return fmt::format("{} at {}, not {}", a[k], k, b[k]);
  }
  return "";
}

void compare(const Call& call, const Args& args, const Args& copies, const std::string& what) {
  Results found, expected;
  try {
    found = derivatives(call, args, true);
    expected = derivatives(call, copies, false);
  } catch (const Error& error) {
    BOOST_TEST(false, call.name << ", " << what << ": " << error.what());
    return;
  }
  BOOST_TEST(found.size() == expected.size(), call.name << ", " << what);
  if (found.size() != expected.size()) return;
  for (size_t i = 0; i < found.size(); ++i) {
    const std::string wrong = difference(found[i], expected[i], call.tolerance);
    BOOST_TEST(wrong.empty(), call.name << ", " << what << ", result " << i << ": " << wrong);
  }
}

/// All arguments in each layout and, unless that would take long, each of them alone.
void walk(const Call& call, bool alone = true) {
  for (const Tensor& x : call.args) {
    if (x && x.numel() > 0) continue;
    BOOST_TEST(!x, call.name << " is called with nothing");
  }
  for (size_t which = alone ? 0 : call.args.size(); which <= call.args.size(); ++which) {
    for (size_t k = 0; k < 11; ++k) {
      Args args, copies;
      std::string what = which < call.args.size() ? fmt::format("argument {}", which) : "all";
      bool any = false;
      for (size_t i = 0; i < call.args.size(); ++i) {
        const Tensor& x = call.args[i];
        const std::vector<Layout> all = x ? layouts(x.shape()) : std::vector<Layout>();
        const bool chosen = (which == i || which == call.args.size()) && k < all.size();
        if (chosen) what += " " + all[k].name;
        any = any || chosen;
        args.push_back(chosen ? laid_out(x, all[k]) : x ? raw::clone(x) : x);
        copies.push_back(x ? raw::clone(args.back()) : x);
      }
      if (any) compare(call, args, copies, what);
    }
  }
}

Args in_f32(const Args& args) {
  Args result;
  for (const Tensor& x : args)
    result.push_back(x && is_floating(x.dtype()) ? raw::cast(x, DType::f32) : x);
  return result;
}

std::vector<Call> elementwise_calls() {
  std::vector<Call> calls;
  const auto unary = [&](const char* name, Tensor (*f)(const Tensor&)) {
    calls.push_back(call(name, {numbers({3, 1, 4}, 1, 0.2, 2)},
                         [f](std::span<const Tensor> x) { return f(x[0]); }));
  };
  unary("exp", exp), unary("log", log), unary("sqrt", sqrt), unary("rsqrt", rsqrt);
  unary("abs", abs), unary("neg", neg), unary("sin", sin), unary("cos", cos), unary("tanh", tanh);
  unary("erf", erf), unary("square", square), unary("reciprocal", reciprocal);
  unary("sigmoid", sigmoid), unary("relu", relu), unary("silu", silu), unary("softplus", softplus);
  unary("step", step), unary("sign", sign);
  unary("gelu", [](const Tensor& x) { return gelu(x); });
  unary("gelu", [](const Tensor& x) { return gelu(x, GeluForm::tanh); });
  unary("affine", [](const Tensor& x) { return affine(x, 1.5, -0.5); });
  unary("clamp", [](const Tensor& x) { return clamp(x, 0.5, 1.5); });
  unary("inside", [](const Tensor& x) { return inside(x, 0.5, 1.5); });
  unary("add", [](const Tensor& x) { return add(x, 1.5); });
  unary("sub", [](const Tensor& x) { return sub(x, 1.5); });
  unary("mul", [](const Tensor& x) { return mul(x, 1.5); });
  unary("div", [](const Tensor& x) { return div(x, 1.5); });
  unary("pow", [](const Tensor& x) { return pow(x, 1.5); });
  unary("operator-", [](const Tensor& x) { return 1.5 - x; });
  unary("operator/", [](const Tensor& x) { return 1.5 / x; });
  unary("cast",
        [](const Tensor& x) { return cast(x, x.dtype() == DType::f32 ? DType::f64 : DType::f32); });
  unary("all_finite", [](const Tensor& x) { return full({}, all_finite(x)); });
  unary("str", [](const Tensor& x) {
    const std::string text = str(x, 9);
    const auto size = static_cast<int64_t>(text.size());
    return cast(Tensor::from(std::vector<int>(text.begin(), text.end()), {size}), DType::f64);
  });
  const auto binary = [&](const char* name, Tensor (*f)(const Tensor&, const Tensor&)) {
    for (const Shape& b : {Shape{3, 4}, Shape{4}, Shape{2, 3, 1}})
      calls.push_back(call(name, {numbers({3, 4}, 1, 0.2, 2), numbers(b, 2, 0.2, 2)},
                           [f](std::span<const Tensor> x) { return f(x[0], x[1]); }));
  };
  binary("add", add), binary("sub", sub), binary("mul", mul), binary("div", div);
  binary("pow", pow), binary("maximum", maximum), binary("minimum", minimum);
  binary("less", less), binary("less_equal", less_equal), binary("greater", greater);
  binary("greater_equal", greater_equal), binary("equal", equal), binary("not_equal", not_equal);
  using Comparison = Tensor (*)(const Tensor&, const Tensor&);
  for (Comparison f : std::initializer_list<Comparison>{less, equal})
    calls.push_back(call("less", {indices({3, 4}, 5), indices({3, 4}, 5, 6)},
                         [f](std::span<const Tensor> x) { return f(x[0], x[1]); }));
  calls.push_back(call("logical_and", {mask({3, 4}), mask({3, 4}, 6)},
                       [](std::span<const Tensor> x) { return logical_and(x[0], x[1]); }));
  calls.push_back(call("logical_or", {mask({3, 4}), mask({3, 4}, 6)},
                       [](std::span<const Tensor> x) { return logical_or(x[0], x[1]); }));
  calls.push_back(call("logical_not", {mask({3, 4})},
                       [](std::span<const Tensor> x) { return logical_not(x[0]); }));
  calls.push_back(call("any", {ones({3, 4}, DType::boolean)}, [](std::span<const Tensor> x) {
    return full({}, any(logical_not(x[0])) + 2 * any(x[0]) + 4 * all(x[0]));
  }));
  calls.push_back(call("all", {mask({3, 4})}, [](std::span<const Tensor> x) {
    return full({}, any(x[0]) + 2 * all(x[0]));
  }));
  calls.push_back(call("where", {mask({3, 1}), numbers({3, 4}, 1), numbers({2, 3, 4}, 2)},
                       [](std::span<const Tensor> x) { return where(x[0], x[1], x[2]); }));
  calls.push_back(call("masked_fill", {numbers({3, 4}, 1), mask({3, 4})},
                       [](std::span<const Tensor> x) { return masked_fill(x[0], x[1], 0.5); }));
  calls.push_back(call("relu_gradient", {numbers({3, 4}, 1), numbers({3, 4}, 2)},
                       [](std::span<const Tensor> x) { return relu_gradient(x[0], x[1]); }));
  calls.push_back(call("ahead_gradient", {numbers({3, 4}, 1), numbers({3, 4}, 2)},
                       [](std::span<const Tensor> x) { return ahead_gradient(x[0], x[1]); }));
  calls.push_back(call("behind_gradient", {numbers({3, 4}, 1), numbers({3, 4}, 2)},
                       [](std::span<const Tensor> x) { return behind_gradient(x[0], x[1]); }));
  calls.push_back(call("dropout", {numbers({3, 4}, 1)}, [](std::span<const Tensor> x) {
    Generator generator(3);
    return dropout(x[0], 0.4, true, generator);
  }));
  return calls;
}

std::vector<Call> shape_calls() {
  const auto of = [](const char* name, std::function<Tensor(const Tensor&)> f) {
    return call(name, {numbers({3, 1, 4}, 1)}, [f](std::span<const Tensor> x) { return f(x[0]); });
  };
  const auto all_of = [](TensorList parts) { return Results(parts.begin(), parts.end()); };
  return {of("reshape",
             [](const Tensor& x) {
               return reshape(x, {2, -1});
             }),
          of("flatten", [](const Tensor& x) { return flatten(x, 1); }),
          of("transpose", [](const Tensor& x) { return transpose(x, 0, 2); }),
          of("permute",
             [](const Tensor& x) {
               return permute(x, {2, 0, 1});
             }),
          of("unsqueeze", [](const Tensor& x) { return unsqueeze(x, 1); }),
          of("squeeze", [](const Tensor& x) { return squeeze(x, 1); }),
          of("expand",
             [](const Tensor& x) {
               return expand(x, {2, 3, 5, 4});
             }),
          of("slice", [](const Tensor& x) { return slice(x, 2, 1, 4, 2); }),
          of("select", [](const Tensor& x) { return select(x, 0, -1); }),
          of("contiguous", [](const Tensor& x) { return mul(contiguous(x), 1); }),
          of("sum",
             [](const Tensor& x) {
               return sum(x, {0, 1});
             }),
          of("sum", [](const Tensor& x) { return sum(x, {2}, true); }),
          of("mean", [](const Tensor& x) { return mean(x); }),
          of("var",
             [](const Tensor& x) {
               return var(x, {0, 2});
             }),
          of("max", [](const Tensor& x) { return max(x, {0}); }),
          of("min", [](const Tensor& x) { return min(x, {2}); }),
          of("argmax", [](const Tensor& x) { return argmax(x, 2); }),
          of("argmax",
             [](const Tensor& x) {
               return argmax(x, {0, 2});
             }),
          of("sum_to",
             [](const Tensor& x) {
               return sum_to(x, {1, 4});
             }),
          of("softmax", [](const Tensor& x) { return softmax(x, 0); }),
          of("softmax", [](const Tensor& x) { return softmax(x); }),
          of("log_softmax", [](const Tensor& x) { return log_softmax(x, 0); }),
          of("logsumexp", [](const Tensor& x) { return logsumexp(x, 2); }),
          call("softmax_backward", {numbers({3, 4}, 1), numbers({3, 4}, 2)},
               [](std::span<const Tensor> x) { return softmax_backward(x[0], x[1]); }),
          call("concat", {numbers({3, 4}, 1), numbers({3, 2}, 2)},
               [](std::span<const Tensor> x) { return concat(x, 1); }),
          call("stack", {numbers({3, 4}, 1), numbers({3, 4}, 2)},
               [](std::span<const Tensor> x) { return stack(x, 1); }),
          {"unbind",
           {numbers({3, 4}, 1)},
           [=](std::span<const Tensor> x) { return all_of(unbind(x[0], 1)); }},
          call("gather", {numbers({3, 4}, 1), indices({3, 2}, 4)},
               [](std::span<const Tensor> x) { return gather(x[0], 1, x[1]); }),
          call("scatter_add", {numbers({3, 4}, 1), indices({3, 2}, 4), numbers({3, 2}, 2)},
               [](std::span<const Tensor> x) { return scatter_add(x[0], 1, x[1], x[2]); }),
          call("index_select", {numbers({3, 4}, 1), indices({5}, 4)},
               [](std::span<const Tensor> x) { return index_select(x[0], 1, x[1]); }),
          call("index_add", {numbers({3, 4}, 1), indices({5}, 3), numbers({5, 4}, 2)},
               [](std::span<const Tensor> x) { return index_add(x[0], 0, x[1], x[2]); }),
          call("embedding", {numbers({5, 3}, 1), indices({2, 4}, 5)},
               [](std::span<const Tensor> x) { return embedding(x[0], x[1]); }),
          call("one_hot", {indices({2, 4}, 5)},
               [](std::span<const Tensor> x) { return one_hot(x[0], 5); })};
}

std::vector<Call> surface_calls() {
  const auto ends = [](const TensorList& parts) { return Results{parts[0], parts.back()}; };
  const Tensor x = numbers({3, 4}, 1), row = numbers({4}, 2), other = numbers({4}, 3);
  return {call("clone", {x}, [](std::span<const Tensor> v) { return mul(clone(v[0]), 1); }),
          call("detach", {x}, [](std::span<const Tensor> v) { return mul(detach(v[0]), v[0]); }),
          {"split", {x}, [=](std::span<const Tensor> v) { return ends(split(v[0], 3, 1)); }},
          {"split",
           {x},
           [=](std::span<const Tensor> v) {
             return ends(split(v[0], {1, 2}));
           }},
          {"chunk", {x}, [=](std::span<const Tensor> v) { return ends(chunk(v[0], 2, 1)); }},
          call("squeeze", {numbers({3, 1, 4, 1}, 1)},
               [](std::span<const Tensor> v) { return squeeze(v[0]); }),
          call("dot", {row, other}, [](std::span<const Tensor> v) { return dot(v[0], v[1]); }),
          call("outer", {row, other}, [](std::span<const Tensor> v) { return outer(v[0], v[1]); }),
          call("matmul", {x, row}, [](std::span<const Tensor> v) { return matmul(v[0], v[1]); }),
          call("matmul", {row, x},
               [](std::span<const Tensor> v) { return matmul(v[0], v[1], false, true); }),
          call("pow", {x}, [](std::span<const Tensor> v) { return pow(1.7, v[0]); }),
          call("maximum", {x}, [](std::span<const Tensor> v) { return maximum(v[0], 0.3); }),
          call("minimum", {x}, [](std::span<const Tensor> v) { return minimum(0.3, v[0]); }),
          call("clamp", {x, row, numbers({3, 1}, 4)},
               [](std::span<const Tensor> v) { return clamp(v[0], v[1], v[2]); }),
          call("operator", {x, numbers({3, 4}, 2, 0.5, 2)},
               [](std::span<const Tensor> v) {
                 Tensor y = v[0];
                 y += v[1];
                 y *= v[0];
                 y -= v[1];
                 y /= v[1];
                 return y;
               }),
          call("operator", {mask({3, 4}, 5), mask({3, 4}, 6)},
               [](std::span<const Tensor> v) { return (v[0] & ~v[1]) | (v[1] & ~v[0]); })};
}

std::vector<Call> index_and_order_calls() {
  const auto of = [](const char* name, std::function<Tensor(const Tensor&)> f) {
    return call(name, {numbers({3, 4, 4}, 1)}, [f](std::span<const Tensor> x) { return f(x[0]); });
  };
  const auto of_both = [](const ValuesAndIndices& y) { return Results{y.values, y.indices}; };
  std::vector<Call> calls{
      of("log1p", [](const Tensor& x) { return log1p(square(x)); }),
      of("expm1", [](const Tensor& x) { return expm1(x); }),
      of("leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); }),
      of("elu", [](const Tensor& x) { return elu(x, 0.7); }),
      of("round", [](const Tensor& x) { return round(x); }),
      of("floor", [](const Tensor& x) { return floor(x); }),
      of("ceil", [](const Tensor& x) { return ceil(x); }),
      of("argmin", [](const Tensor& x) { return argmin(x, 1); }),
      of("prod", [](const Tensor& x) { return prod(x, {1}); }),
      of("stddev", [](const Tensor& x) { return stddev(x, {0}); }),
      of("norm", [](const Tensor& x) { return norm(x, 2, {1}); }),
      of("norm", [](const Tensor& x) { return norm(x, 3, {2}); }),
      of("cumsum", [](const Tensor& x) { return cumsum(x, 1); }),
      of("logsumexp",
         [](const Tensor& x) {
           return logsumexp(x, Axes{0, 2});
         }),
      of("argsort", [](const Tensor& x) { return argsort(x, 1, true); }),
      of("flip", [](const Tensor& x) { return flip(x, {1}); }),
      of("roll", [](const Tensor& x) { return roll(x, 2, 1); }),
      of("tile",
         [](const Tensor& x) {
           return tile(x, {2, 1});
         }),
      of("repeat_interleave", [](const Tensor& x) { return repeat_interleave(x, 2, 1); }),
      of("pad",
         [](const Tensor& x) {
           return pad(x, {1, 2, -1, 1});
         }),
      of("pad",
         [](const Tensor& x) {
           return pad(x, {1, 2}, PadMode::reflect);
         }),
      of("tril", [](const Tensor& x) { return tril(x, 1); }),
      of("triu", [](const Tensor& x) { return triu(x); }),
      of("nonzero", [](const Tensor& x) { return nonzero(greater(x, 0)); }),
      call("masked_select", {numbers({3, 4}, 1), mask({3, 4})},
           [](std::span<const Tensor> x) { return masked_select(x[0], x[1]); }),
      call("any all", {mask({3, 4})},
           [](std::span<const Tensor> x) {
             return concat({any(x[0], {0}), all(x[0], {0})});
           }),
      call("einsum", {numbers({2, 3, 4}, 1), numbers({4, 5, 2}, 2)},
           [](std::span<const Tensor> x) {
             return einsum("bij,jkb->bk", {x[0], x[1]});
           }),
      {"sort",
       {numbers({3, 4}, 1)},
       [=](std::span<const Tensor> x) { return of_both(sort(x[0], 0)); }},
      {"topk",
       {numbers({3, 4}, 1)},
       [=](std::span<const Tensor> x) { return of_both(topk(x[0], 2)); }},
      {"max_with_indices",
       {numbers({3, 4}, 1)},
       [=](std::span<const Tensor> x) { return of_both(max_with_indices(x[0], 0)); }},
      {"min_with_indices", {numbers({3, 4}, 1)}, [=](std::span<const Tensor> x) {
         return of_both(min_with_indices(x[0], 1));
       }}};
  using Binary = Tensor (*)(const Tensor&, const Tensor&);
  for (const auto& [name, f] : std::initializer_list<std::pair<const char*, Binary>>{
           {"add", add}, {"sub", sub}, {"mul", mul}, {"maximum", maximum}, {"minimum", minimum}})
    calls.push_back(call(name, {indices({3, 4}, 5), indices({3, 1}, 5, 6)},
                         [f = f](std::span<const Tensor> x) { return f(x[0], x[1]); }));
  calls.push_back(
      call("sum max min prod cumsum abs", {indices({3, 4}, 5)}, [](std::span<const Tensor> x) {
        return sum(x[0], {0}) + max(x[0], {0}) * min(x[0], {0}) + prod(x[0] + 1, {0}) +
               select(cumsum(abs(x[0]), 0), 0, 2);
      }));
  calls.push_back(call("scatter_add", {indices({3, 4}, 9), indices({3, 2}, 4), indices({3, 2}, 9)},
                       [](std::span<const Tensor> x) { return scatter_add(x[0], 1, x[1], x[2]); }));
  return calls;
}

std::vector<Call> loss_calls() {
  return {call("mse_loss", {numbers({3, 4}, 1), numbers({3, 4}, 2)},
               [](std::span<const Tensor> x) { return mse_loss(x[0], x[1]); }),
          call("huber_loss", {numbers({3, 4}, 1), numbers({3, 4}, 2)},
               [](std::span<const Tensor> x) { return huber_loss(x[0], x[1]); }),
          call("binary_cross_entropy_with_logits",
               {numbers({3, 4}, 1), numbers({3, 4}, 2, 0, 1), numbers({3, 4}, 3, 0.5, 2),
                numbers({4}, 4, 0.5, 2)},
               [](std::span<const Tensor> x) {
                 return binary_cross_entropy_with_logits(x[0], x[1],
                                                         {Tensor(x[2]).set_requires_grad(false),
                                                          Tensor(x[3]).set_requires_grad(false)});
               }),
          call("cross_entropy", {numbers({4, 3}, 1), indices({4}, 3), numbers({3}, 2, 0.5, 2)},
               [](std::span<const Tensor> x) {
                 return cross_entropy(x[0], x[1],
                                      {.label_smoothing = 0.2,
                                       .ignore_index = 1,
                                       .weight = Tensor(x[2]).set_requires_grad(false)});
               }),
          call("cross_entropy", {numbers({4, 3, 2}, 1), indices({4, 2}, 3)},
               [](std::span<const Tensor> x) {
                 return cross_entropy(x[0], x[1], {.reduction = Reduction::none});
               })};
}

std::vector<Call> more_loss_calls() {
  const Args pair{numbers({3, 4}, 1), numbers({3, 4}, 2)};
  return {call("nll_loss", {numbers({4, 3, 2}, 1), indices({4, 2}, 3), numbers({3}, 2, 0.5, 2)},
               [](std::span<const Tensor> x) {
                 return nll_loss(
                     x[0], x[1],
                     {.ignore_index = 1, .weight = Tensor(x[2]).set_requires_grad(false)});
               }),
          call("cross_entropy", {numbers({4, 3, 2}, 1), numbers({4, 3, 2}, 2)},
               [](std::span<const Tensor> x) {
                 return cross_entropy(x[0], x[1], {.label_smoothing = 0.2});
               }),
          call("l1_loss", pair, [](std::span<const Tensor> x) { return l1_loss(x[0], x[1]); }),
          call("smooth_l1_loss", pair,
               [](std::span<const Tensor> x) { return smooth_l1_loss(x[0], x[1]); }),
          call("kl_div", pair, [](std::span<const Tensor> x) { return kl_div(x[0], relu(x[1])); }),
          call("binary_cross_entropy",
               {numbers({3, 4}, 1, 0.1, 0.9), numbers({3, 4}, 2, 0, 1), numbers({4}, 3, 0.5, 2)},
               [](std::span<const Tensor> x) {
                 return binary_cross_entropy(x[0], x[1], {Tensor(x[2]).set_requires_grad(false)});
               }),
          call("gaussian_nll_loss",
               {numbers({3, 4}, 1), numbers({3, 4}, 2), numbers({3, 4}, 3, 0.5, 2)},
               [](std::span<const Tensor> x) { return gaussian_nll_loss(x[0], x[1], x[2]); }),
          call("cosine_similarity", pair,
               [](std::span<const Tensor> x) { return cosine_similarity(x[0], x[1]); }),
          call("cosine_embedding_loss",
               {numbers({3, 4}, 1), numbers({3, 4}, 2), Tensor::of({1, -1, 1}, DType::i64)},
               [](std::span<const Tensor> x) { return cosine_embedding_loss(x[0], x[1], x[2]); })};
}

/// The sizes past which other kernels are taken, threads and OpenBLAS among them, with `large`.
std::vector<Call> product_calls(bool large) {
  const double tolerance = large ? 0x1p-17 : 0;  // in f32
  const int64_t n = large ? 160 : 4, d = large ? 130 : 3, out = large ? 200 : 5;
  std::vector<Call> calls{
      call(
          "matmul", {numbers({n, d}, 1), numbers({d, out}, 2)},
          [](std::span<const Tensor> x) { return matmul(x[0], x[1]); }, tolerance),
      call(
          "linear", {numbers({n, d}, 1), numbers({out, d}, 2), numbers({out}, 3)},
          [](std::span<const Tensor> x) { return linear(x[0], x[1], x[2]); }, tolerance),
      call(
          "linear", {numbers({n, d}, 1), numbers({out, d}, 2), {}},
          [](std::span<const Tensor> x) { return linear(x[0], x[1], x[2], Activation::relu); },
          tolerance)};
  const int64_t c = large ? 16 : 2, side = large ? 12 : 5;
  for (int64_t kernel : {1, 3})
    calls.push_back(call(
        "conv2d",
        {numbers({2, c, side, side}, 1), numbers({c + 1, c, kernel, kernel}, 2),
         numbers({c + 1}, 3)},
        [](std::span<const Tensor> x) {
          return conv2d(x[0], x[1], x[2], {.padding = {1, 1}});
        },
        tolerance));
  for (CellKind kind : {CellKind::tanh, CellKind::relu, CellKind::lstm, CellKind::gru}) {
    const int64_t batch = large ? 40 : 3, hidden = large ? 36 : 3, rows = gates_of(kind) * hidden,
                  inputs = large ? 70 : 2;
    const bool lstm = kind == CellKind::lstm;
    const Tensor c0 = lstm ? numbers({batch, hidden}, 7) : Tensor();
    for (const Shape& shape : {Shape{batch, 3, inputs}, Shape{batch, inputs}})
      for (bool masked : {false, true}) {
        if (masked && shape.ndim() == 2) continue;
        calls.push_back(
            {"recurrence",
             {numbers(shape, 1), numbers({batch, hidden}, 2), c0, numbers({rows, inputs}, 3, -1, 1),
              numbers({rows, hidden}, 4, -1, 1), numbers({rows}, 5), numbers({rows}, 6),
              masked ? mask({batch, 3}) : Tensor()},
             [kind](std::span<const Tensor> x) {
               const auto [y, state] =
                   recurrence(kind, x[0], {x[1], x[2]}, {x[3], x[4], x[5], x[6]}, x[7]);
               return Results{state.h, state.c, y};
             },
             tolerance});
      }
  }
  if (large) return calls;
  for (const auto& [a, b] : {std::pair{Shape{2, 3, 4}, Shape{2, 4, 5}},
                             {{2, 3, 4}, {4, 5}},
                             {{3, 4}, {2, 4, 5}},
                             {{2, 1, 3, 4}, {3, 4, 5}}})
    calls.push_back(call(
        "matmul", {numbers(a, 1), numbers(b, 2)},
        [](std::span<const Tensor> x) { return matmul(x[0], x[1]); }, tolerance));
  calls.push_back(call(
      "matmul", {numbers({4, 3}, 1), numbers({5, 4}, 2)},
      [](std::span<const Tensor> x) { return matmul(x[0], x[1], true, true); }, tolerance));
  calls.push_back(call(
      "linear", {numbers({2, 3, 4}, 1), numbers({5, 4}, 2), numbers({5}, 3)},
      [](std::span<const Tensor> x) { return linear(x[0], x[1], x[2]); }, tolerance));
  return calls;
}

std::vector<Call> attention_calls() {
  std::vector<Call> calls;
  for (bool causal : {false, true})
    for (const Shape& outer : {Shape{3, 2}, Shape{3}, Shape{}, Shape{2, 3, 2}}) {
      const auto of = [&](std::initializer_list<int64_t> last) {
        Shape shape = outer;
        for (int64_t size : last) shape.push_back(size);
        return shape;
      };
      const bool padded = outer.ndim() > 0;
      calls.push_back(call("scaled_dot_product_attention",
                           {numbers(of({4, 3}), 1), numbers(of({5, 3}), 2), numbers(of({5, 2}), 3),
                            numbers({4, 5}, 4), padded ? mask({outer[0], 5}) : Tensor()},
                           [causal](std::span<const Tensor> x) {
                             return scaled_dot_product_attention(
                                 x[0], x[1], x[2],
                                 {.mask = x[3], .key_padding = x[4], .causal = causal});
                           }));
    }
  calls.push_back(call("scaled_dot_product_attention",
                       {numbers({3, 2, 4, 3}, 1), numbers({3, 2, 5, 3}, 2),
                        numbers({3, 2, 5, 2}, 3), mask({2, 4, 5})},
                       [](std::span<const Tensor> x) {
                         return scaled_dot_product_attention(x[0], x[1], x[2], {.mask = x[3]});
                       }));
  calls.push_back(call(
      "scaled_dot_product_attention",
      {numbers({3, 70, 9}, 1), numbers({3, 80, 9}, 2), numbers({3, 80, 17}, 3)},
      [](std::span<const Tensor> x) { return scaled_dot_product_attention(x[0], x[1], x[2]); }));
  calls.push_back(call("self_attention", {numbers({2, 4, 12}, 1), mask({2, 4}), mask({4, 4}, 6)},
                       [](std::span<const Tensor> x) {
                         return self_attention(x[0], 2, {.mask = x[2], .key_padding = x[1]});
                       }));
  return calls;
}

std::vector<Call> norm_calls() {
  std::vector<Call> calls;
  const Tensor w4 = numbers({4}, 2, 0.5, 2), b4 = numbers({4}, 3), w3 = numbers({3}, 2, 0.5, 2),
               b3 = numbers({3}, 3);
  for (Activation activation : {Activation::none, Activation::relu}) {
    calls.push_back(call("layer_norm", {numbers({2, 3, 4}, 1), w4, b4, mask({2, 3})},
                         [=](std::span<const Tensor> x) {
                           return layer_norm(x[0], {4}, x[1], x[2],
                                             {.valid = x[3], .activation = activation});
                         }));
    calls.push_back({"batch_norm",
                     {numbers({5, 3, 4}, 1), w3, b3, mask({5, 4})},
                     [=](std::span<const Tensor> x) {
                       const auto r =
                           batch_norm(x[0], x[1], x[2], {.valid = x[3], .activation = activation});
                       return Results{r.y, r.mean, r.var};
                     }});
    calls.push_back({"batch_norm", {numbers({5, 4, 3}, 1), w3, b3}, [=](std::span<const Tensor> x) {
                       const auto r = batch_norm(
                           x[0], x[1], x[2], {.axis = ChannelAxis::last, .activation = activation});
                       return Results{r.y, r.mean, r.var};
                     }});
    calls.push_back(call(
        "batch_norm_inference",
        {numbers({5, 3, 4}, 1), numbers({3}, 6), numbers({3}, 7, 0.5, 2), w3, b3, mask({5, 4})},
        [=](std::span<const Tensor> x) {
          return batch_norm_inference(x[0], Tensor(x[1]).set_requires_grad(false),
                                      Tensor(x[2]).set_requires_grad(false), x[3], x[4],
                                      {.valid = x[5], .activation = activation});
        }));
  }
  calls.push_back(
      call("rms_norm", {numbers({2, 3, 4}, 1), w4, mask({2, 3})},
           [](std::span<const Tensor> x) { return rms_norm(x[0], {4}, x[1], {.valid = x[2]}); }));
  calls.push_back(call(
      "group_norm", {numbers({2, 4, 3}, 1), w4, b4, mask({2})},
      [](std::span<const Tensor> x) { return group_norm(x[0], 2, x[1], x[2], {.valid = x[3]}); }));
  calls.push_back({"group_norm_groups",
                   {numbers({2, 4, 3}, 1), w4, b4, mask({2})},
                   [](std::span<const Tensor> x) {
                     const NormGroups groups = group_norm_groups(x[0], 2, x[3]);
                     return Results{norm_forward(groups, x[0], x[1], x[2], 1e-5).y};
                   }});
  calls.push_back({"rms_norm_groups",
                   {numbers({2, 3, 4}, 1), w4, b4, mask({2, 3})},
                   [](std::span<const Tensor> x) {
                     const NormGroups groups = rms_norm_groups(x[0], {4}, x[3]);
                     return Results{norm_forward(groups, x[0], x[1], x[2], 1e-5).y};
                   }});
  calls.push_back(
      {"cell_step",
       {numbers({2, 12}, 1), numbers({2, 12}, 2), numbers({2, 3}, 3), numbers({2, 3}, 4)},
       [](std::span<const Tensor> x) {
         const CellState s = cell_step(CellKind::lstm, x[0], x[1], {x[2], x[3]});
         return Results{s.h, s.c};
       }});
  calls.push_back({"layer_norm_groups norm_forward norm_backward",
                   {numbers({2, 3, 4}, 1), w4, b4, mask({2, 3}), numbers({2, 3, 4}, 4)},
                   [](std::span<const Tensor> x) {
                     const NormGroups groups = layer_norm_groups(x[0], {4}, x[3]);
                     const NormForward forward = norm_forward(groups, x[0], x[1], x[2], 1e-5);
                     const NormBackward back = norm_backward(groups, forward, x[1], x[4]);
                     return Results{forward.y, back.dx, back.dweight, back.dbias};
                   }});
  calls.push_back({"batch_norm_groups normalize_with clear_invalid group_mean",
                   {numbers({5, 3, 4}, 1), w3, b3, mask({5, 4}), numbers({1, 3, 1}, 4),
                    numbers({1, 3, 1}, 5, 0.5, 2), numbers({5, 3, 4}, 6)},
                   [](std::span<const Tensor> x) {
                     const NormGroups groups = batch_norm_groups(x[0], ChannelAxis::second, x[3]);
                     const NormForward with =
                         normalize_with(groups, x[0], x[4], x[5], x[1], x[2], 1e-5);
                     return Results{with.y, clear_invalid(groups, x[6]), group_mean(groups, x[6])};
                   }});
  calls.push_back({"norm_backward_backward",
                   {numbers({2, 3, 4}, 1), w4, numbers({2, 3, 4}, 4), numbers({2, 3, 4}, 5),
                    numbers({4}, 6), numbers({4}, 7)},
                   [](std::span<const Tensor> x) {
                     const NormSecond d = norm_backward_backward(
                         layer_norm_groups(x[0], {4}), x[0], x[1], x[2], 1e-5, x[3], x[4], x[5]);
                     return Results{d.x, d.weight, d.dy};
                   }});
  const auto numbers_of = [](const Invariant& i) { return Results{i.found, i.expected, i.scale}; };
  calls.push_back({"gradient_sum", {numbers({3, 4}, 1)}, [=](std::span<const Tensor> x) {
                     return numbers_of(gradient_sum(layer_norm_groups(x[0], {4}), x[0]));
                   }});
  calls.push_back({"gradient_along_xhat",
                   {numbers({3, 4}, 1), w4, numbers({3, 4}, 4), numbers({3, 4}, 5)},
                   [=](std::span<const Tensor> x) {
                     return numbers_of(gradient_along_xhat(layer_norm_groups(x[0], {4}), x[0], x[1],
                                                           x[2], x[3], 1e-5));
                   }});
  calls.push_back(
      {"weight_along_itself",
       {numbers({5, 3}, 1), w3, numbers({5, 3}, 4), numbers({3, 2}, 5), numbers({3, 2}, 6)},
       [=](std::span<const Tensor> x) {
         return numbers_of(
             weight_along_itself(batch_norm_groups(x[0]), x[0], x[1], x[2], x[3], x[4], 1e-5));
       }});
  calls.push_back(
      {"scaled_and_shifted", {numbers({3, 4}, 1), w4, b4}, [=](std::span<const Tensor> x) {
         const auto norm = [&](const Tensor& v) { return layer_norm(v, {4}, x[1], x[2]); };
         return numbers_of(scaled_and_shifted(norm, layer_norm_groups(x[0], {4}), x[0], x[1], x[2],
                                              1e-5, 2, 0.5));
       }});
  return calls;
}

std::vector<Call> pool_calls() {
  const Args image{numbers({2, 3, 5, 6}, 1)};
  return {call("max_pool2d", image,
               [](std::span<const Tensor> x) {
                 return max_pool2d(x[0], {2, 2});
               }),
          call("avg_pool2d", image,
               [](std::span<const Tensor> x) {
                 return avg_pool2d(x[0], {3, 2}, {.stride = Pair{1, 2}, .padding = {1, 1}});
               }),
          call("adaptive_avg_pool2d", image, [](std::span<const Tensor> x) {
            return adaptive_avg_pool2d(x[0], {2, 4});
          })};
}

std::vector<Call> window_calls() {
  const Args row{numbers({2, 3, 6}, 1)};
  return {call("interpolate", {numbers({2, 3, 4, 5}, 1)},
               [](std::span<const Tensor> x) { return interpolate(x[0], {.scale = 2}); }),
          call("interpolate", {numbers({2, 3, 4, 5}, 1)},
               [](std::span<const Tensor> x) {
                 return interpolate(x[0], {.size = Pair(7, 3), .mode = Interpolation::bilinear});
               }),
          {"max_pool2d_with_indices",
           {numbers({2, 3, 5, 6}, 1)},
           [](std::span<const Tensor> x) {
             const auto [y, places] = max_pool2d_with_indices(x[0], 2);
             return Results{y, places};
           }},
          call("max_unpool2d", {numbers({2, 3, 2, 2}, 1), indices({2, 3, 2, 2}, 16)},
               [](std::span<const Tensor> x) { return max_unpool2d(x[0], x[1], 2); }),
          call("max_pool1d", row, [](std::span<const Tensor> x) { return max_pool1d(x[0], 2); }),
          call("avg_pool1d", row, [](std::span<const Tensor> x) { return avg_pool1d(x[0], 2); }),
          call("adaptive_avg_pool1d", row,
               [](std::span<const Tensor> x) { return adaptive_avg_pool1d(x[0], 4); }),
          call("conv2d", {numbers({2, 3, 4, 5}, 1), numbers({2, 3, 2, 3}, 2), numbers({2}, 3)},
               [](std::span<const Tensor> x) {
                 return conv2d(x[0], x[1], x[2], {.padding = Padding::same()});
               }),
          call("conv1d", {numbers({2, 3, 6}, 1), numbers({2, 3, 3}, 2), numbers({2}, 3)},
               [](std::span<const Tensor> x) { return conv1d(x[0], x[1], x[2]); }),
          call("conv_transpose2d",
               {numbers({2, 3, 3, 4}, 1), numbers({3, 2, 3, 2}, 2), numbers({2}, 3)},
               [](std::span<const Tensor> x) {
                 return conv_transpose2d(x[0], x[1], x[2],
                                         {.stride = 2, .output_padding = 1, .dilation = {1, 2}});
               }),
          call("conv_transpose1d", {numbers({2, 3, 4}, 1), numbers({3, 2, 3}, 2), numbers({2}, 3)},
               [](std::span<const Tensor> x) { return conv_transpose1d(x[0], x[1], x[2]); })};
}

Tensor cubes(std::span<const Tensor> x) { return sum(x[0] * x[0] * x[1]); }

std::vector<Call> functional_calls() {
  const Args pair{numbers({3, 4}, 1), numbers({3, 4}, 2)};
  const Args four{numbers({3, 4}, 1), numbers({3, 4}, 2), numbers({3, 4}, 3), numbers({3, 4}, 4)};
  const auto product = [](const Tensor& a, const Tensor& b) { return a * b; };
  return {
      {"vjp",
       {numbers({3, 4}, 1), numbers({3, 4}, 2), numbers({3, 4}, 3)},
       [=](std::span<const Tensor> x) { return vjp(product, x.first(2), x[2]); }},
      call("jvp", four,
           [=](std::span<const Tensor> x) { return jvp(product, x.first(2), x.last(2)); }),
      {"hvp", four, [](std::span<const Tensor> x) { return hvp(cubes, x.first(2), x.last(2)); }},
      call("jacobian", pair,
           [](std::span<const Tensor> x) {
             return jacobian([&](const Tensor& v) { return v * x[1]; }, x[0]);
           }),
      call("hessian", pair,
           [](std::span<const Tensor> x) {
             return hessian([&](const Tensor& v) { return sum(v * v * x[1]); }, x[0]);
           }),
      {"largest_hessian_eigenvalue", {numbers({2, 2}, 1)}, [](std::span<const Tensor> x) {
         const Eigenvalue e = largest_hessian_eigenvalue(
             [](std::span<const Tensor> v) { return sum(square(square(v[0]))); },
             Args{raw::cast(x[0], DType::f64)}, {.max_iterations = 20});
         return Results{full({}, e.value, DType::f64), e.vector[0]};
       }}};
}

Results rows_of(const Dataset& data) { return {data.x, data.y}; }

/// Functions that no tape follows, and f32 alone where they are of images.
std::vector<Call> data_calls() {
  const auto images = [](const Tensor& x) { return raw::cast(x, DType::f32); };
  const auto data = [](const Tensor& x, const Tensor& y) { return Dataset{"some", x, y, 3}; };
  const Args labelled{images(numbers({6, 1, 3, 4}, 1)), indices({6}, 3), indices({4}, 6)};
  return {
      call("random_shift", {labelled[0]},
           [](std::span<const Tensor> x) {
             Generator generator(2);
             return random_shift(x[0], 1, 0.5, 0, generator);
           }),
      {"Dataset map", labelled,
       [=](std::span<const Tensor> x) { return rows_of(data(x[0], x[1])[x[2]]); }},
      {"train_test_split", labelled,
       [=](std::span<const Tensor> x) {
         Split parts = train_test_split(data(x[0], x[1]), 0.3, 1);
         Results all = rows_of(parts.train);
         for (const Tensor& part : rows_of(parts.test)) all.push_back(part);
         return all;
       }},
      {"kfold", labelled,
       [=](std::span<const Tensor> x) { return rows_of(kfold(data(x[0], x[1]), 2, 1)[1].train); }},
      {"pad_sequence",
       {numbers({3, 2}, 1), numbers({1, 2}, 2)},
       [](std::span<const Tensor> x) {
         const PaddedSequences padded = pad_sequence({x[0], x[1]}, 0.5);
         return Results{padded.values, padded.lengths};
       }},
      {"standardize",
       {images(numbers({6, 1, 3, 4}, 1)), images(numbers({4, 1, 3, 4}, 2)), indices({6}, 3),
        indices({4}, 3)},
       [=](std::span<const Tensor> x) {
         Split parts{data(x[0], x[2]), data(x[1], x[3])};
         if (max(x[0]).item() == min(x[0]).item()) return Results{x[0]};  // it would refuse
         standardize(parts);
         return Results{parts.train.x, parts.test.x};
       }},
      {"DataLoader", labelled,
       [=](std::span<const Tensor> x) {
         const DataLoader loader(data(x[0], x[1]), {.batch_size = 4});
         const Batch batch = loader.epoch(1).batch(1);
         return Results{batch.x, batch.y};
       }},
      call("length_mask", {indices({4}, 5)},
           [](std::span<const Tensor> x) { return length_mask(x[0], 5); }),
      call("clear_padding", {numbers({2, 3, 4}, 1), mask({2, 3})},
           [](std::span<const Tensor> x) { return clear_padding(x[0], x[1]); }),
      call("patches", {numbers({2, 1, 4, 6}, 1)},
           [](std::span<const Tensor> x) { return patches(x[0], 2); }),
      call("save_tensors", {numbers({3, 4}, 1), indices({3, 4}, 6), mask({3, 4})},
           [](std::span<const Tensor> x) {
             const std::string path = "test_strides.safetensors";
             save_tensors(path, {{"a", x[0]}, {"b", x[1]}, {"c", x[2]}});
             const NamedTensors loaded = load_tensors(path);
             std::filesystem::remove(path);
             std::string text;
             for (const auto& [name, value] : loaded) text += fmt::format("{:.17}\n", value);
             const Tensor a = loaded[0].second;
             return concat({reshape(a, {12}), cast(reshape(loaded[1].second, {12}), a.dtype()),
                            cast(reshape(loaded[2].second, {12}), a.dtype())});
           })};
}

/// Tables, vocabularies, and other files than safetensors.
std::vector<Call> table_calls() {
  return {
      {"fit apply invert",
       {numbers({3, 4}, 1), numbers({3, 4}, 2)},
       [](std::span<const Tensor> x) {
         const Standardizer columns = Standardizer::fit(x[0]);
         return Results{columns.apply(x[1]), columns.invert(x[1])};
       }},
      call("decode", {indices({3, 4}, 3)},
           [](std::span<const Tensor> x) {
             return Vocabulary({"a", "b", "c"})
                 .encode(characters(Vocabulary({"a", "b", "c"}).decode(x[0])));
           }),
      {"next_token_windows",
       {indices({7}, 5)},
       [](std::span<const Tensor> x) {
         const Dataset windows = next_token_windows(x[0], 2, 1);
         return Results{windows.x, windows.y};
       }},
      call("save_csv", {numbers({4}, 1), mask({4}), indices({4, 1}, 6)},
           [](std::span<const Tensor> x) {
             const std::string path = "test_strides.csv";
             save_csv(path, {{"a", x[0]}, {"b", x[1]}, {"c", x[2]}});
             const Table table = load_csv(path);
             std::filesystem::remove(path);
             return table.numbers({"a", "b", "c"}, x[0].dtype());
           }),
      call("save_npy", {numbers({3, 4}, 1)},
           [](std::span<const Tensor> x) {
             const std::string path = "test_strides.npy";
             save_npy(path, x[0]);
             const Tensor loaded = load_npy(path);
             std::filesystem::remove(path);
             return loaded;
           }),
      {"save_npz",
       {numbers({3, 4}, 1), indices({3, 4}, 6)},
       [](std::span<const Tensor> x) {
         const std::string path = "test_strides.npz";
         save_npz(path, {{"a", x[0]}, {"b", x[1]}});
         const NamedTensors loaded = load_npz(path);
         std::filesystem::remove(path);
         return Results{loaded[0].second, loaded[1].second};
       }},
      {"random_flip random_crop rotate random_rotation",
       {raw::cast(numbers({3, 2, 4, 5}, 1), DType::f32), numbers({3}, 2)},
       [](std::span<const Tensor> x) {
         Generator generator(2);
         return Results{random_flip(x[0], 0.5, -2, generator),
                        random_crop(x[0], 3, 4, 1, 0, generator), rotate(x[0], x[1]),
                        random_rotation(x[0], 30, 0, generator)};
       }},
      {"random_noise mixup", {numbers({3, 4}, 1), indices({3}, 3)}, [](std::span<const Tensor> x) {
         Generator generator(2);
         const Tensor noisy = random_noise(x[0], 1, generator);
         const Dataset mixed = mixup({"some", x[0], x[1], 3}, 1, generator);
         return Results{noisy, mixed.x, mixed.y};
       }}};
}

/// Members of Tensor, and what is written in it: in the arguments themselves.
std::vector<Call> tensor_calls() {
  const auto as_tensor = [](const std::vector<double>& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
  };
  return {call("to_vector", {numbers({3, 4}, 1), indices({3, 4}, 5), mask({3, 4})},
               [=](std::span<const Tensor> x) {
                 std::vector<double> all;
                 for (const Tensor& v : x)
                   for (double value : v.to_vector<double>()) all.push_back(value);
                 return as_tensor(all);
               }),
          call("at", {numbers({3, 4}, 1)},
               [=](std::span<const Tensor> x) {
                 return as_tensor({x[0].at({0, 0}), x[0].at({2, 3}), x[0].at({1, 2})});
               }),
          call("format", {numbers({3, 4}, 1)},
               [=](std::span<const Tensor> x) {
                 const std::string text = fmt::format("{:.17}", x[0]);
                 return as_tensor(std::vector<double>(text.begin(), text.end()));
               }),
          call("set_data", {numbers({3, 4}, 1)},
               [](std::span<const Tensor> x) {
                 Tensor y = zeros({2});
                 y.set_data(x[0]);
                 return raw::clone(y);
               }),
          {"empty_like zeros_like ones_like",
           {numbers({3, 4}, 1)},
           [](std::span<const Tensor> x) {
             return Results{zeros_like(x[0]), ones_like(x[0])};
           }},
          call("as_strided clone", {numbers({3, 4}, 1)},
               [](std::span<const Tensor> x) {
                 return raw::clone(as_strided(x[0], {4}, std::span(x[0].strides() + 1, 1), 0));
               }),
          call("copy", {numbers({3, 4}, 1)},
               [](std::span<const Tensor> x) {
                 Tensor y = zeros({4, 3}, x[0].dtype()), turned = transpose(y);
                 raw::copy(x[0], turned);
                 return y;
               }),
          call("add accumulate", {numbers({3, 4}, 1), numbers({3, 4}, 2)},
               [](std::span<const Tensor> x) {
                 Tensor y = raw::add(x[0], x[1]);
                 raw::accumulate(x[0], y);
                 return y;
               }),
          call("Contiguous", {numbers({3, 4}, 1)}, [](std::span<const Tensor> x) {
            const raw::Contiguous values(x[0]);
            return raw::clone(
                raw::expand(raw::contiguous(raw::reshape(values.tensor(), {4, 1, 3})), {4, 2, 3}));
          })};
}

/// Tokens, positions, and models of sequences.
std::vector<Call> sequence_calls() {
  using Arguments = std::span<const Tensor>;
  const auto draw = [](auto f) {
    return [f](Arguments x) {
      Generator generator(3);
      return f(x[0], generator);
    };
  };
  const Tensor logits = numbers({4, 2, 5}, 1);
  return {call("categorical", {logits},
               draw([](const Tensor& x, Generator& g) { return categorical(x, g); })),
          call("bernoulli", {numbers({4, 5}, 1, 0, 1)},
               draw([](const Tensor& x, Generator& g) { return bernoulli(x, g); })),
          call("sample_logits", {logits}, draw([](const Tensor& x, Generator& g) {
                 return sample_logits(x, {.temperature = 0.7, .top_k = 4, .top_p = 0.9}, g);
               })),
          call("sample_logits", {logits},
               [](Arguments x) { return sample_logits(x[0], {.temperature = 0}); }),
          call("keep_top_k", {logits}, [](Arguments x) { return keep_top_k(x[0], 2); }),
          call("keep_top_p", {logits}, [](Arguments x) { return keep_top_p(x[0], 0.6); }),
          call("rotary", {numbers({3, 5, 4}, 1)}, [](Arguments x) { return rotary(x[0], 2); }),
          call("generate", {indices({2, 3}, 5), numbers({5, 5}, 2)}, [](Arguments x) {
            return generate(
                [&](const Tensor& tokens) { return embedding(x[1], select(tokens, 1, -1)); }, x[0],
                4, {.temperature = 0});
          })};
}

std::vector<Call> all_calls() {
  std::vector<Call> all;
  for (auto calls : {elementwise_calls(), shape_calls(), surface_calls(), index_and_order_calls(),
                     loss_calls(), more_loss_calls(), window_calls(), product_calls(false),
                     attention_calls(), norm_calls(), pool_calls(), functional_calls(),
                     data_calls(), table_calls(), tensor_calls(), sequence_calls()})
    for (Call& one : calls) all.push_back(std::move(one));
  return all;
}

/// Something that writes elements of y.
struct Write {
  std::string name;
  std::function<void(Tensor& y)> f;
};

/// Every judge of sin's gradients moves y, and leaves it as it was.
void check_gradients(Tensor& y) {
  y.set_requires_grad();
  const auto f = [](const Tensor& x) { return sin(x); };
  const auto exact = [&](size_t, int64_t entry) {
    std::vector<double> column(static_cast<size_t>(y.numel()));
    column[static_cast<size_t>(entry)] =
        std::cos(y.to_vector<double>()[static_cast<size_t>(entry)]);
    return column;
  };
  const std::vector<double> before = y.to_vector<double>();
  std::vector<GradcheckReport> reports{gradcheck(f, {y}, {.resolution = 1}),
                                       gradcheck(f, {y}, {.mode = GradcheckMode::projected}),
                                       gradcheck_f32(f, Args{y})};
  if (y.dtype() == DType::f64) {
    reports.push_back(gradgradcheck(f, {y}));
    reports.push_back(gradcheck_against(exact, f, Args{y}));
    reports.push_back(gradcheck_taylor(f, Args{y}));
  }
  for (const GradcheckReport& report : reports)
    check(report.disagreeing == 0 && report.faults.empty(), "{}", report.text());
  check(y.to_vector<double>() == before, "the inputs were changed");
}

std::vector<Write> writes() {
  const auto init = [](const char* name, const Init& i) {
    return Write{name, [i](Tensor& y) {
                   Generator generator(4);
                   i.draw(y, generator);
                 }};
  };
  const auto step = [](Tensor& y, auto make) {
    y.set_requires_grad();
    const auto optimizer = make(std::vector{y});
    y.set_grad(raw::cast(numbers(y.shape(), 8), y.dtype()));
    optimizer->step();
  };
  return {
      {"fill_", [](Tensor& y) { fill_(y, 1.5); }},
      {"copy_", [](Tensor& y) { copy_(y, raw::cast(numbers(y.shape(), 9), y.dtype())); }},
      {"fill", [](Tensor& y) { raw::fill(y, 1.5); }},
      {"copy", [](Tensor& y) { raw::copy(raw::cast(numbers(y.shape(), 9), y.dtype()), y); }},
      init("Init", Init::constant(0.5)),
      init("Init", Init::uniform(0.5)),
      init("Init", Init::normal(0.5)),
      {"Sgd",
       [=](Tensor& y) {
         step(y, [](auto p) { return std::make_unique<Sgd>(p, SgdOptions{.momentum = 0.9}); });
       }},
      {"Adam", [=](Tensor& y) { step(y, [](auto p) { return std::make_unique<Adam>(p); }); }},
      {"AdamW", [=](Tensor& y) { step(y, [](auto p) { return std::make_unique<AdamW>(p); }); }},
      {"Adagrad", [=](Tensor& y) { step(y, [](auto p) { return std::make_unique<Adagrad>(p); }); }},
      {"Lion", [=](Tensor& y) { step(y, [](auto p) { return std::make_unique<Lion>(p); }); }},
      {"Rmsprop", [=](Tensor& y) { step(y, [](auto p) { return std::make_unique<Rmsprop>(p); }); }},
      {"gradcheck", check_gradients}};
}

/// The public headers in which functions of tensors stand.
std::string header_text() {
  std::string text;
  const std::filesystem::path root = GRADUS_SOURCE_DIR;
  for (const char* folder : {"tensor", "autograd/ops", "autograd/functional", "layers", "optim",
                             "models", "data", "gradcheck"})
    for (const auto& file : std::filesystem::directory_iterator(root / folder)) {
      if (file.path().extension() != ".h") continue;
      std::stringstream whole;
      whole << std::ifstream(file.path()).rdbuf();
      text += whole.str();
    }
  return std::regex_replace(text, std::regex("//[^\n]*"), "");
}

/// What the walks below are for, and what reads no elements.
const std::set<std::string> kElsewhere{
    // modules
    "forward", "operator", "embed", "joined", "project", "run", "step_of", "ActivationModule",
    "Lambda", "check_inputs", "module_sample", "update_running_stats", "normalize", "normalize_by",
    "normalize_groups", "GivenStatistics", "checked_input", "Parameter", "Buffer", "OwnedTensor",
    "copy_of", "share", "AnyNorm", "CellState",
    // written
    "draw", "clip_grad_norm", "clip_grad_value", "grad_norms", "Lbfgs", "move", "evaluate",
    "minimize", "step", "add_group", "check_new", "is_plain", "gradgradcheck", "gradcheck_against",
    "gradcheck_f32", "gradcheck_taylor",
    // handles
    "Tensor", "swap", "set_grad", "is", "shares_storage", "check_same_dtype", "check_writable",
    "overlap", "Epoch", "logits_of",
    // of the language
    "requires"};

}  // namespace

BOOST_AUTO_TEST_CASE(public_functions_take_any_strides) {
  for (Call c : all_calls()) {
    walk(c);
    c.args = in_f32(c.args);
    walk(c);
  }
}

// Where elements share memory it is an error that names the function, and nothing is written.
BOOST_AUTO_TEST_CASE(what_is_written_may_have_any_strides) {
  for (DType dtype : {DType::f64, DType::f32})
    for (const Write& write : writes()) {
      const Tensor x = raw::cast(numbers({3, 1, 4}, 1), dtype);
      Tensor expected = raw::clone(x);
      write.f(expected);
      for (const Layout& layout : layouts(x.shape())) {
        BOOST_TEST_CONTEXT(write.name << ", " << layout.name) {
          Tensor y = laid_out(x, layout);
          const std::vector<double> before = y.to_vector<double>();
          if (layout.shared) {
            BOOST_CHECK_EXCEPTION(write.f(y), Error, test::says(write.name + ":"));
            BOOST_TEST(y.to_vector<double>() == before);
          } else {
            write.f(y);
            BOOST_TEST(difference(y, expected, 0) == "");
          }
        }
      }
    }
}

BOOST_AUTO_TEST_CASE(gradients_of_any_strides_are_clipped_alike) {
  for (const Layout& layout : layouts({3, 1, 4})) {
    Tensor p = numbers({3, 1, 4}, 1).set_requires_grad(), q = raw::clone(p).set_requires_grad();
    p.set_grad(laid_out(numbers({3, 1, 4}, 2), layout));
    q.set_grad(raw::clone(p.grad()));
    BOOST_TEST(clip_grad_norm(std::vector{p}, 0.5) == clip_grad_norm(std::vector{q}, 0.5));
    BOOST_TEST(difference(p.grad(), q.grad(), 0) == "", layout.name);
    p.set_grad(laid_out(numbers({3, 1, 4}, 2), layout));
    q.set_grad(raw::clone(p.grad()));
    BOOST_TEST(grad_norms(std::vector{p})[0].second == grad_norms(std::vector{q})[0].second);
    clip_grad_value(std::vector{p}, 0.5);
    clip_grad_value(std::vector{q}, 0.5);
    BOOST_TEST(difference(p.grad(), q.grad(), 0) == "", layout.name);
  }
}

// Its parameters and buffers lie anyhow, too.
BOOST_AUTO_TEST_CASE(modules_take_any_strides) {
  const auto run = [](const ModuleSample& s, bool strided) {
    manual_seed(3);
    Tape tape;
    const Tensor y = s.forward(s.inputs);
    if (needs_grad(y)) tape.backward(y, {.dy = upstream(y, strided)});
    Results all{y};
    for (const auto& [name, value] : s.module->state()) {
      all.push_back(value);
      all.push_back(value.grad());
    }
    return all;
  };
  for (const ModuleSamples* row : all_module_samples())
    for (size_t i = 0; i < row->make().size(); ++i)
      for (size_t k = 1; k < 11; ++k) {
        ModuleSample plain = row->make()[i], strided = row->make()[i];
        NamedTensors state = plain.module->state(), moved = strided.module->state();
        for (size_t n = 0; n < moved.size(); ++n) {
          Tensor& to = moved[n].second;
          const std::vector<Layout> all = layouts(to.shape());
          if (k >= all.size() || (all[k].shared && !to.requires_grad())) continue;
          to.set_data(laid_out(to, all[k]));
          raw::copy(to, state[n].second);
        }
        for (size_t n = 0; n < plain.inputs.size(); ++n) {
          Tensor& x = plain.inputs[n];
          const std::vector<Layout> all = layouts(x.shape());
          if (k >= all.size()) continue;
          strided.inputs[n] = laid_out(x, all[k]);
          x = raw::clone(strided.inputs[n]);
        }
        BOOST_TEST_CONTEXT(row->name << ", " << plain.label << ", layout " << k) {
          const Results found = run(strided, true), expected = run(plain, false);
          for (size_t n = 0; n < found.size(); ++n)
            BOOST_TEST(difference(found[n], expected[n], 0) == "", "result " << n);
        }
      }
}

BOOST_AUTO_TEST_CASE(every_public_function_of_tensors_is_walked) {
  std::set<std::string> walked = kElsewhere;
  for (const Call& c : all_calls()) {
    std::istringstream names(c.name);
    for (std::string name; names >> name;) walked.insert(name);
  }
  for (const Write& w : writes()) walked.insert(w.name);
  const std::string text = header_text();
  const std::regex declaration("\\b([A-Za-z_]\\w*)\\((?=[^()]*\\bTensor\\b)");
  for (std::sregex_iterator at(text.begin(), text.end(), declaration), end; at != end; ++at)
    BOOST_TEST(walked.contains((*at)[1]), (*at)[1] << " takes a tensor and is not walked");
}

BOOST_AUTO_TEST_CASE(large_products_take_any_strides) {
  for (Call c : product_calls(true)) {
    c.args = in_f32(c.args);
    walk(c, false);
  }
}

BOOST_AUTO_TEST_CASE(ops_take_any_strides_by_their_samples) {
  for (const OpSamples* row : all_op_samples())
    for (const OpSample& sample : row->make()) {
      Args args;
      for (const Tensor& x : sample.inputs) args.push_back(Tensor(x).set_requires_grad(false));
      walk(call(fmt::format("{} {}", row->name, sample.label), args, sample.f));
    }
}

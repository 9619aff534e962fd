#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/ops/where.h>

#include <algorithm>
#include <cmath>

#include "tests/mutations/table.h"

namespace gradus::mutations {

namespace {

using Tensors = std::vector<Tensor>;

/// Draws everything about a check.
struct Draw {
  Generator generator;
  uint64_t seed;
  int64_t largest;

  int64_t below(int64_t n) {
    return static_cast<int64_t>(generator.below(static_cast<uint64_t>(n)));
  }
  int64_t from(int64_t low, int64_t high) { return low + below(high - low + 1); }
  /// Up to the largest size, small ones as often as large ones.
  int64_t size(int64_t least, int64_t most) {
    const double ratio = static_cast<double>(most) / static_cast<double>(least);
    return std::min(most, static_cast<int64_t>(static_cast<double>(least) *
                                               std::pow(ratio * 1.1, generator.uniform())));
  }
  /// A shape of 1 to 4 axes.
  Shape shape() {
    Shape shape;
    int64_t left = size(1, largest);
    for (int64_t axes = from(1, 4); axes > 1 && left > 1; --axes) {
      shape.push_back(size(1, left));
      left /= shape.back();
    }
    shape.push_back(left);
    return shape;
  }
  /// Normals of some scale, about some mean.
  Tensor leaf(const Shape& shape, const char* name) {
    const double deviation = std::pow(10, 2 * generator.uniform() - 1.5);
    const double mean = below(4) == 0 ? 3 * generator.uniform() : 0;
    return normal(shape, seed, name, mean, deviation);
  }
  Tensor constant(const Shape& shape) { return uniform(shape, -1.5, 1.5, generator, DType::f64); }
};

struct Named {
  const char* name;
  Tensor (*f)(const Tensor&);
};
constexpr Named kUnary[] = {
    {"tanh", tanh},
    {"exp", exp},
    {"sin", sin},
    {"cos", cos},
    {"erf", erf},
    {"abs", abs},
    {"square", square},
    {"sigmoid", sigmoid},
    {"relu", relu},
    {"silu", silu},
    {"softplus", softplus},
    {"gelu", [](const Tensor& x) { return gelu(x); }},
    {"clamp", [](const Tensor& x) { return clamp(x, -0.7, 1.3); }},
    {"log", [](const Tensor& x) { return log(square(x) + 0.1); }},
    {"sqrt", [](const Tensor& x) { return sqrt(square(x) + 0.1); }},
    {"reciprocal", [](const Tensor& x) { return reciprocal(square(x) + 0.3); }},
};

RightCheck of_unary(Draw& d) {
  std::string what;
  std::vector<Tensor (*)(const Tensor&)> chain;
  for (int64_t count = d.from(1, 3); count > 0; --count) {
    const Named& one = kUnary[d.below(std::size(kUnary))];
    what = one.name + (what.empty() ? "" : "(" + what + ")");
    chain.push_back(one.f);
  }
  return {what, {{d.leaf(d.shape(), "x")}, [chain](const Tensor& x) {
                   Tensor y = x;
                   for (auto f : chain) y = f(y);
                   return y;
                 }}};
}

RightCheck of_binary(Draw& d) {
  const Shape shape = d.shape();
  Shape other = shape;
  for (int i = 0; i < shape.ndim(); ++i)
    if (d.below(3) == 0) other[i] = 1;
  const Tensors inputs{d.leaf(shape, "a"), d.leaf(other, "b")};
  const Tensor chosen = greater(d.constant(shape), 0);
  switch (d.below(5)) {
    case 0:
      return {"a + tanh(b)",
              {inputs, [](const Tensor& a, const Tensor& b) { return a + tanh(b); }}};
    case 1:
      return {"a * b", {inputs, [](const Tensor& a, const Tensor& b) { return a * b; }}};
    case 2:
      return {"a / (b^2 + 0.2)",
              {inputs, [](const Tensor& a, const Tensor& b) { return a / (square(b) + 0.2); }}};
    case 3:
      return {"maximum", {inputs, [](const Tensor& a, const Tensor& b) { return maximum(a, b); }}};
    default:
      return {"where", {inputs, [=](const Tensor& a, const Tensor& b) {
                          return where(chosen, sin(a), a * b);
                        }}};
  }
}

RightCheck of_reduction(Draw& d) {
  const Shape shape = d.shape();
  const int64_t axis = d.below(shape.ndim());
  const Tensor x = d.leaf(shape, "x");
  switch (d.below(shape[static_cast<int>(axis)] > 1 ? 6 : 5)) {
    case 0:
      return {"sum of squares", {{x}, [=](const Tensor& v) { return sum(square(v), {axis}); }}};
    case 1:
      return {"max", {{x}, [=](const Tensor& v) { return max(v, {axis}); }}};
    case 2:
      return {"softmax", {{x}, [=](const Tensor& v) { return softmax(v, axis); }}};
    case 3:
      return {"log_softmax", {{x}, [=](const Tensor& v) { return log_softmax(v, axis); }}};
    case 4:
      return {"logsumexp", {{x}, [=](const Tensor& v) { return logsumexp(v, axis); }}};
    default:
      return {"var", {{x}, [=](const Tensor& v) { return var(v, {axis}); }}};
  }
}

RightCheck of_product(Draw& d) {
  const int64_t k = d.size(1, 32), rows = d.size(1, d.largest / k),
                columns = d.size(1, d.largest / k);
  if (d.below(2) == 0)
    return {"matmul",
            {{d.leaf({rows, k}, "a"), d.leaf({k, columns}, "b")},
             [](const Tensor& a, const Tensor& b) { return matmul(a, b); }}};
  return {
      "linear",
      {{d.leaf({rows, k}, "x"), d.leaf({columns, k}, "weight"), d.leaf({columns}, "bias")},
       [](const Tensor& x, const Tensor& w, const Tensor& b) { return tanh(linear(x, w, b)); }}};
}

RightCheck of_images(Draw& d) {
  const int64_t n = d.from(1, 3), c = d.from(1, 3), h = d.from(3, 8), w = d.from(3, 8);
  const Tensor x = d.leaf({n, c, h, w}, "x");
  switch (d.below(3)) {
    case 0:
      return {"max_pool2d", {{x}, [](const Tensor& v) { return max_pool2d(v, {2, 3}); }}};
    case 1:
      return {"avg_pool2d", {{x}, [](const Tensor& v) { return avg_pool2d(square(v), {3, 2}); }}};
    default: {
      const int64_t out = d.from(1, 4), pad = d.below(2), stride = d.from(1, 2);
      return {"conv2d",
              {{x, d.leaf({out, c, 3, 2}, "weight"), d.leaf({out}, "bias")},
               [=](const Tensor& v, const Tensor& k, const Tensor& b) {
                 return conv2d(v, k, b, {.stride = {stride, 1}, .padding = {pad, pad}});
               }}};
    }
  }
}

RightCheck of_norm(Draw& d) {
  const int64_t features = d.size(2, 64),
                rows = d.size(3, std::max<int64_t>(3, d.largest / features));
  const Tensors inputs{d.leaf({rows, features}, "x"), d.leaf({features}, "weight"),
                       d.leaf({features}, "bias")};
  if (d.below(2) == 0)
    return {"layer_norm", {inputs, [=](const Tensor& x, const Tensor& w, const Tensor& b) {
                             return layer_norm(x, {features}, w, b);
                           }}};
  return {"batch_norm", {inputs, [](const Tensor& x, const Tensor& w, const Tensor& b) {
                           return batch_norm(x, w, b).y;
                         }}};
}

RightCheck of_sharp_norm(Draw& d) {
  const int64_t features = d.size(2, 16), rows = d.size(3, 32);
  const double scale = d.below(4) == 0 ? 0 : std::pow(10, 11 * d.generator.uniform() - 7);
  const Tensors inputs{normal({rows, features}, d.seed, "x", 0, scale),
                       d.leaf({features}, "weight"), d.leaf({features}, "bias")};
  if (d.below(2) == 0)
    return {"layer_norm, eps 1e-12",
            {inputs, [=](const Tensor& x, const Tensor& w, const Tensor& b) {
               return layer_norm(x, {features}, w, b, {.eps = 1e-12});
             }}};
  return {"batch_norm, eps 1e-12", {inputs, [](const Tensor& x, const Tensor& w, const Tensor& b) {
                                      return batch_norm(x, w, b, {.eps = 1e-12}).y;
                                    }}};
}

RightCheck of_loss(Draw& d) {
  const int64_t classes = d.size(2, 64),
                rows = d.size(1, std::max<int64_t>(1, d.largest / classes));
  const Tensor labels = randint(0, classes, {rows}, d.generator);
  const Tensors pair{d.leaf({rows, classes}, "x"), d.leaf({rows, classes}, "target")};
  switch (d.below(4)) {
    case 0:
      return {"cross_entropy", {{pair[0]}, [=](const Tensor& x) {
                                  return cross_entropy(x, labels, {.label_smoothing = 0.1});
                                }}};
    case 1:
      return {"cross_entropy of each", {{pair[0]}, [=](const Tensor& x) {
                                          return cross_entropy(x, labels,
                                                               {.reduction = Reduction::none});
                                        }}};
    case 2:
      return {"mse_loss", {pair, [](const Tensor& x, const Tensor& t) { return mse_loss(x, t); }}};
    default:
      return {"huber_loss",
              {pair, [](const Tensor& x, const Tensor& t) { return huber_loss(x, t, 0.5); }}};
  }
}

RightCheck of_attention(Draw& d) {
  const int64_t n = d.from(1, 2), queries = d.from(1, 8), keys = d.from(1, 8), e = d.from(1, 6);
  return {"attention",
          {{d.leaf({n, queries, e}, "q"), d.leaf({n, keys, e}, "k"), d.leaf({n, keys, e}, "v")},
           [](const Tensor& q, const Tensor& k, const Tensor& v) {
             return scaled_dot_product_attention(q, k, v);
           }}};
}

RightCheck of_index(Draw& d) {
  const int64_t width = d.size(1, 32), count = d.size(1, std::max<int64_t>(1, d.largest / width));
  const Tensor rows = randint(0, count, {d.from(1, 20)}, d.generator);
  const Tensor x = d.leaf({count, width}, "x");
  if (d.below(2) == 0)
    return {"embedding", {{x}, [=](const Tensor& w) { return tanh(embedding(w, rows)); }}};
  return {"rows and columns turned",
          {{x}, [=](const Tensor& v) {
             return reshape(square(concat({transpose(v), transpose(sin(v))}, 1)), {-1});
           }}};
}

}  // namespace

RightCheck random_right_check(uint64_t seed, int64_t largest) {
  Draw d{Generator(seed, "right check"), seed, largest};
  constexpr RightCheck (*kFamilies[])(Draw&) = {of_unary,     of_unary,  of_binary, of_reduction,
                                                of_product,   of_images, of_norm,   of_loss,
                                                of_attention, of_index};
  RightCheck check =
      seed % 20 == 7 ? of_sharp_norm(d) : kFamilies[d.below(std::size(kFamilies))](d);
  const Shape& shape = check.trial.inputs[0].shape();
  check.what = fmt::format("seed {}: {} of {}", seed, check.what, shape);
  return check;
}

void check_right(uint64_t seed, int64_t largest, FalseAlarms& result) {
  const RightCheck right = random_right_check(seed, largest);
  const GradcheckReport report = gradcheck(right.trial.f, right.trial.inputs, {.seed = seed});
  int64_t entries = 0;
  for (const Tensor& x : right.trial.inputs) entries = std::max(entries, x.numel());
  result.smallest = result.checks == 0 ? entries : std::min(result.smallest, entries);
  result.largest = std::max(result.largest, entries);
  ++result.checks;
  result.full += report.mode == GradcheckMode::full;
  result.entries += report.entries;
  result.unresolved += report.unresolved;
  result.kinks += report.kinks;
  const bool alarm = report.disagreeing > 0 || !report.faults.empty();
  result.untold += !alarm && report.agreeing == 0;
  if (alarm) result.alarms.push_back(right.what + "\n" + report.table());
}

}  // namespace gradus::mutations

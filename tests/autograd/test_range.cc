#define BOOST_TEST_MODULE range
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/tape.h>
#include <gradus/tensor/random.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

using namespace gradus;

// Ops that sum, at the ends of f32: what f64 computes of the same numbers and f32 holds, f32 gives.
namespace {

/// Which elements of x, and of a result of its shape, are computed together: so many neighbours, or
/// all of a channel (axis 1), else all.
struct Rows {
  size_t operator()(const Shape& shape, int64_t i) const {
    if (channels) return static_cast<size_t>(i / (shape[2]) % shape[1]);
    return static_cast<size_t>(length > 0 ? i / length : 0);
  }
  int64_t length = 0;
  bool channels = false;
};
constexpr Rows kAll, kChannels{.channels = true};

struct Case {
  std::string name;
  std::function<Tensor(const Tensor&)> f;
  Rows rows = kAll;
  double bound = 0x1p-20;
  bool exponents = false;  // are rounded differences of x, and slopes may be less than f32 holds
};
constexpr double kSizes[] = {1.0, 1e-30, 1e30, 1.6e38};  // of dy

std::vector<Case> cases() {
  // Constants, or gradients of both ways would cancel.
  const auto half = [](const Tensor& x) {
    const NoRecord pause;
    return mul(x, 0.5);
  };
  return {
      {"sum", [](const Tensor& x) { return sum(x); }},
      {"sum of rows", [](const Tensor& x) { return sum(x, {1}); }},
      {"sum over two axes",
       [](const Tensor& x) {
         return sum(x, {0, 2});
       }},
      {"mean", [](const Tensor& x) { return mean(x); }},
      {"mean of columns", [](const Tensor& x) { return mean(x, {0}); }},
      {"mean over two axes",
       [](const Tensor& x) {
         return mean(x, {0, 2}, true);
       }},
      {"avg_pool2d",
       [](const Tensor& x) {
         return avg_pool2d(unsqueeze(x, 0), {2, 3});
       }},
      {"avg_pool2d of large windows",
       [](const Tensor& x) {
         return avg_pool2d(reshape(x, {1, 1, 15, 7}), {14, 6}, {.stride = Pair{1, 1}});
       }},
      {"adaptive_avg_pool2d",
       [](const Tensor& x) {
         return adaptive_avg_pool2d(unsqueeze(x, 0), {2, 3});
       }},
      {"adaptive_avg_pool2d to one",
       [](const Tensor& x) {
         return adaptive_avg_pool2d(unsqueeze(x, 0), {1, 1});
       }},
      {"adaptive_avg_pool2d of large windows",
       [](const Tensor& x) {
         return adaptive_avg_pool2d(reshape(x, {1, 1, 15, 7}), {1, 2});
       }},
      {"var", [](const Tensor& x) { return var(x, {}, false, 1); }},
      {"var of rows", [](const Tensor& x) { return var(x, {2}, false, 0); }, {7}},
      {"var over two axes",
       [](const Tensor& x) {
         return var(x, {0, 2}, true, 0);
       },
       kChannels},
      {"mse_loss", [=](const Tensor& x) { return mse_loss(x, half(x)); }},
      {"huber_loss", [](const Tensor& x) { return huber_loss(x, neg(x), 1e-3); }},
      {"logsumexp", [](const Tensor& x) { return logsumexp(x, 2); }, {7}, 0x1p-20, true},
      {"softmax", [](const Tensor& x) { return softmax(x, 2); }, {7}, 0x1p-20, true},
      {"rms_norm", [](const Tensor& x) { return rms_norm(x, {7}, {}, {.eps = 1e-5}); }, {7}},
      {"rms_norm over two axes",
       [](const Tensor& x) {
         return rms_norm(x, {3, 7}, {}, {.eps = 0});
       },
       {21}},
      {"group_norm", [](const Tensor& x) { return group_norm(x, 3); }, {7}},
      {"group_norm of one group", [](const Tensor& x) { return group_norm(x, 1); }, {21}},
      {"log_softmax", [](const Tensor& x) { return log_softmax(x, 2); }, {7}, 0x1p-20, true},
      {"cross_entropy",
       [](const Tensor& x) {
         return cross_entropy(reshape(x, {15, 7}), full({15}, 2, DType::i64));
       },
       {7},
       0x1p-20,
       true},
      {"cross_entropy with weights",
       [](const Tensor& x) {
         const Tensor weight = cast(Tensor::of({1.0, 0.5, 4.0, 3.0, 1.0, 0.125, 9.0}), x.dtype());
         return cross_entropy(
             reshape(x, {15, 7}), full({15}, 2, DType::i64),
             {.label_smoothing = 0.1, .weight = weight, .reduction = Reduction::none});
       },
       {7},
       0x1p-20,
       true},
      {"binary_cross_entropy_with_logits", [](const Tensor& x) {
         return binary_cross_entropy_with_logits(x, zeros(x.shape(), x.dtype()));
       }}};
}

/// At most `bound` of the largest in its row, of `least` in a row that is smaller: as a rule the
/// smallest normal number, since below it f32 rounds to 2^-149, however small the result.
void compare(const std::string& what, const Tensor& got, const Tensor& expected,
             double bound = 0x1p-20, Rows rows = kAll, double least = 0x1p-126) {
  const std::vector<double> a = cast(got, DType::f64).to_vector<double>(),
                            b = expected.to_vector<double>();
  BOOST_TEST_REQUIRE(a.size() == b.size());
  const auto row = [&](size_t i) { return rows(expected.shape(), static_cast<int64_t>(i)); };
  std::vector<double> largest(a.size() + 1, least);
  for (size_t i = 0; i < a.size(); ++i)
    if (std::isfinite(b[i])) largest[row(i)] = std::max(largest[row(i)], std::abs(b[i]));
  double worst = 0;
  size_t worst_i = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(b[i]) < 3.4e38)) continue;  // f32 cannot hold it
    const double off = std::abs(a[i] - b[i]) / largest[row(i)];
    if (!(off <= worst)) worst = off, worst_i = i;
  }
  if (!(worst <= bound))
    BOOST_ERROR(what << ": " << a[worst_i] << " is not " << b[worst_i] << ", off by " << worst
                     << " of " << largest[row(worst_i)]);
}

/// The same numbers in either dtype; gradients of softmax to equal ones would be 0.
Tensor upstream(const Tensor& y, double size = 1, bool signs = false) {
  std::vector<double> dy(static_cast<size_t>(y.numel()));
  for (size_t i = 0; i < dy.size(); ++i)
    dy[i] = static_cast<float>(size * (1 + 0.25 * static_cast<double>(i % 5)) *
                               (signs && i % 3 == 1 ? -1 : 1));
  return cast(Tensor::from(dy, y.shape()), y.dtype());
}

std::vector<Tensor> inputs() {
  std::vector<Tensor> all;
  Generator random(3);
  for (double scale : {1e-30, 1e-15, 1.0, 5.0, 20.0, 60.0, 1e3, 1e10, 1e19, 1e30, 1e38})
    for (double mean : {0.0, 3.0, 3e3, 8e6}) {
      if (scale * std::max(mean, 5.0) > 3e38) mean = mean > 0 ? 2 : 0;
      Tensor x = empty({5, 3, 7}, DType::f32);
      float* values = x.mutable_data<float>();
      for (int64_t i = 0; i < x.numel(); ++i)
        values[i] = static_cast<float>(scale * (random.uniform() * 2 - 1 + mean));
      all.push_back(x);
    }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(values_and_gradients) {
  for (const Tensor& x : inputs())
    for (const Case& c : cases()) {
      const Tensor wide = cast(x, DType::f64);
      const std::string what = c.name + " of " + std::to_string(x.to_vector<float>()[0]);
      const auto gradients = [&](const Tensor& at) {
        Tensor leaf = at;
        leaf.set_requires_grad();
        Tape tape;
        std::vector<Tensor> all{c.f(leaf)};
        for (const double size : kSizes)
          for (const bool signs : {false, true})
            all.push_back(tape.gradient(all[0], leaf,
                                        {.keep_graph = true, .dy = upstream(all[0], size, signs)}));
        return all;
      };
      const double difference = max(wide).item() - min(wide).item(),
                   bound = c.bound + (c.exponents ? 0x1p-24 * std::min(difference, 104.0) : 0);
      const std::vector<Tensor> got = gradients(x), expected = gradients(wide);
      compare(what, got[0], expected[0], bound, got[0].shape() == x.shape() ? c.rows : kAll);
      for (size_t i = 1; i < got.size(); ++i)
        compare(what + ", gradient " + std::to_string(i), got[i], expected[i], bound, c.rows,
                0x1p-126 * (c.exponents ? std::max(1.0, kSizes[(i - 1) / 2]) : 1));
    }
}

// Twice back, where one element has nearly all of its row's p, and dy are nearly the same.
BOOST_AUTO_TEST_CASE(second_order_of_softmax) {
  using F = Tensor (*)(const Tensor& x);
  const std::pair<const char*, F> ops[] = {
      {"softmax", [](const Tensor& x) { return softmax(x); }},
      {"log_softmax", [](const Tensor& x) { return log_softmax(x); }},
      {"logsumexp", [](const Tensor& x) { return logsumexp(x); }},
      {"cross_entropy", [](const Tensor& x) {
         const Tensor labels = Tensor::of({0, 3, 6, 2, 1}, DType::i64);
         return cross_entropy(x, labels, {.reduction = Reduction::none});
       }}};
  Generator random(17);
  const Tensor noise = randn({5, 7}, random), u = randn({5, 7}, random);
  for (const double peak : {0.0, 5.0, 12.0, 20.0, 60.0}) {
    Tensor x = raw::clone(noise);
    for (int64_t i = 0; i < 5; ++i)
      x.mutable_data<float>()[i * 7 + (2 * i + 3) % 7] += static_cast<float>(peak);
    for (const auto& [name, f] : ops) {
      const auto results = [&, &f = f](DType dtype) {
        const Tensor at = cast(x, dtype).set_requires_grad();
        Tape tape;
        const Tensor y = f(at), dy = upstream(y, 1, true).set_requires_grad();
        const Tensor first = tape.gradient(y, at, {.create_graph = CreateGraph::yes, .dy = dy});
        auto all = tape.gradient(first, {at, dy}, {.dy = cast(u, dtype)});
        all.push_back(first);
        return all;
      };
      const auto got = results(DType::f32), expected = results(DType::f64);
      for (size_t i = 0; i < got.size(); ++i)
        compare(fmt::format("{}, peak {}, result {}", name, peak, i), got[i], expected[i], 0x1p-18,
                {got[i].numel() == 35 ? 7 : 1});
    }
  }
}

// Rows that kernels cut.
BOOST_AUTO_TEST_CASE(gradients_of_long_rows) {
  Generator random(5);
  const Tensor x = randn({3, 5000}, random);
  for (Tensor (*f)(const Tensor&, int64_t) : {softmax, log_softmax})
    for (const double size : {1.0, 1e-30, 1e30, 1.6e38})
      for (const bool signs : {false, true}) {
        const auto gradient = [&](const Tensor& at) {
          Tensor leaf = at;
          leaf.set_requires_grad();
          Tape tape;
          const Tensor y = f(leaf, 1);
          return tape.gradient(y, leaf, {.dy = upstream(y, size, signs)});
        };
        compare("a gradient of long rows, " + std::to_string(size), gradient(x),
                gradient(cast(x, DType::f64)), 0x1p-20, {5000});
      }
}

// Of x, weights and upstream gradients each of its own size: products of two may leave f32 where
// the gradient does not.
BOOST_AUTO_TEST_CASE(norms_with_weights) {
  using Norm = std::function<Tensor(const Tensor& x, const Tensor& w, const Tensor& b,
                                    const Tensor& samples, Activation relu)>;
  const auto group = [](int64_t groups) -> Norm {
    return [=](auto& x, auto& w, auto& b, auto& samples, Activation relu) {
      return group_norm(x, groups, w, b, {.valid = samples, .activation = relu});
    };
  };
  const auto rows = [](const Tensor& x) { return reshape(x, {5, 24}); };
  const auto each = [](const Tensor& w) {
    return reshape(expand(reshape(w, {4, 1}), {4, 6}), {24});
  };
  const auto positions = [](const Tensor& samples) {
    return samples ? expand(unsqueeze(samples, 1), {5, 6}) : samples;
  };
  struct NormCase {
    const char* name;
    Norm f;
    Rows rows;
  };
  const NormCase norms[] = {
      {"layer_norm",
       [=](auto& x, auto& w, auto& b, auto& samples, Activation relu) {
         return reshape(
             layer_norm(rows(x), {24}, each(w), each(b), {.valid = samples, .activation = relu}),
             x.shape());
       },
       {24}},
      {"rms_norm",
       [=](auto& x, auto& w, auto&, auto& samples, Activation) {
         return reshape(rms_norm(rows(x), {24}, each(w), {.eps = 1e-5, .valid = samples}),
                        x.shape());
       },
       {24}},
      {"group_norm of one group", group(1), {24}},
      {"group_norm", group(2), {12}},
      {"instance_norm", group(4), {6}},
      {"batch_norm",
       [=](auto& x, auto& w, auto& b, auto& samples, Activation relu) {
         return batch_norm(x, w, b, {.valid = positions(samples), .activation = relu}).y;
       },
       kChannels},
      {"batch_norm, channels last",
       [=](auto& x, auto& w, auto& b, auto& samples, Activation relu) {
         const BatchNormOptions options{
             .axis = ChannelAxis::last, .valid = positions(samples), .activation = relu};
         return transpose(batch_norm(transpose(x), w, b, options).y);
       },
       kChannels}};
  Generator random(7);
  const Tensor x = randn({5, 4, 6}, random), w = add(randn({4}, random), 3);
  const Tensor there = raw::cast(Tensor::of({1, 0, 1, 1, 1}, DType::i64), DType::boolean);
  for (const double x_size : {1e-20, 1.0, 1e20, 1e30})
    for (const double w_size : {1e-20, 1.0, 1e20, 1e30})
      for (const double dy_size : {1e-25, 1.0, 1e7, 1e25, 1e30})
        for (const Tensor& samples : {Tensor(), there})
          for (const Activation relu : {Activation::none, Activation::relu})
            for (const auto& [name, norm, row] : norms) {
              const auto results = [&, &norm = norm](DType dtype) {
                const auto leaf = [&](const Tensor& v, double size) {
                  return cast(mul(v, size), dtype).set_requires_grad();
                };
                const Tensor at = leaf(x, x_size), weight = leaf(w, w_size), bias = leaf(w, w_size);
                Tape tape;
                TensorList all{norm(at, weight, bias, samples, relu)};
                for (Tensor& d :
                     tape.gradient(all[0], {at, weight, bias},
                                   {.dy = upstream(all[0], dy_size, true), .allow_unused = true}))
                  all.push_back(std::move(d));
                return all;
              };
              const TensorList got = results(DType::f32), expected = results(DType::f64);
              for (size_t i = 0; i < got.size(); ++i)
                if (got[i])
                  compare(std::string(name) + (samples ? " masked" : "") +
                              (relu == Activation::relu ? " relu" : "") + ", x " +
                              std::to_string(std::log10(x_size)) + ", w " +
                              std::to_string(std::log10(w_size)) + ", dy " +
                              std::to_string(std::log10(dy_size)) + ", result " + std::to_string(i),
                          got[i], expected[i], 0x1p-20, i < 2 ? row : kAll);
            }
}

// The stages' statistics, and the second order of the norms, which is made of them.
BOOST_AUTO_TEST_CASE(norm_stages) {
  for (const Tensor& x : inputs())
    for (const std::string norm : {"layer_norm", "rms_norm", "group_norm", "batch_norm"}) {
      const bool layer = norm == "layer_norm", rms = norm == "rms_norm",
                 group = norm == "group_norm";
      const std::string what = norm + " of " + std::to_string(x.to_vector<float>()[0]);
      const auto second = [&](const Tensor& at) {
        Tensor leaf = at, dy = upstream(at);
        leaf.set_requires_grad();
        dy.set_requires_grad();
        Tape tape;
        const Tensor y = layer   ? layer_norm(leaf, {7})
                         : rms   ? rms_norm(leaf, {7}, {}, {.eps = 1e-5})
                         : group ? group_norm(leaf, 3)
                                 : batch_norm(leaf, {}, {}).y;
        const Tensor dx = tape.gradient(y, leaf, {.create_graph = CreateGraph::yes, .dy = dy});
        return tape.gradient(dx, dy, {.dy = upstream(dx)});
      };
      compare(what + ", second order", second(x), second(cast(x, DType::f64)), 0x1p-18);
      const auto forward = [&](const Tensor& at) {
        return norm_forward(layer   ? layer_norm_groups(at, {7})
                            : rms   ? rms_norm_groups(at, {7})
                            : group ? group_norm_groups(at, 3)
                                    : batch_norm_groups(at),
                            at, {}, {}, 1e-5);
      };
      const NormForward f = forward(x), wide = forward(cast(x, DType::f64));
      compare(what + ", stages", f.y, wide.y);
      compare(what + ", variance", f.variance, wide.variance);
    }
}

// Where a product of weight and upstream gradient leaves f32.
BOOST_AUTO_TEST_CASE(second_order_with_weights) {
  Generator random(13);
  const Tensor x = randn({5, 4}, random), w = add(randn({4}, random), 3);
  for (const double w_size : {1e-25, 1e20, 1e30})
    for (const double dy_size : {1e-10, 1e25, 1e30}) {
      const auto second = [&](DType dtype) {
        const Tensor at = cast(x, dtype).set_requires_grad(),
                     weight = cast(mul(w, w_size), dtype).set_requires_grad(),
                     dy = upstream(at, dy_size, true).set_requires_grad();
        Tape tape;
        const auto first = tape.gradient(layer_norm(at, {4}, weight), {at, weight},
                                         {.create_graph = CreateGraph::yes, .dy = dy});
        return tape.gradient(first[0], {at, weight, dy}, {.dy = upstream(first[0], 1e-20)});
      };
      const std::vector<Tensor> got = second(DType::f32), expected = second(DType::f64);
      for (size_t i = 0; i < got.size(); ++i)
        compare(fmt::format("w {}, dy {}, result {}", w_size, dy_size, i), got[i], expected[i],
                0x1p-18);
    }
}

// Products that leave f32 below; groups in which nearly all cancels; an eps that f32 does not hold.
BOOST_AUTO_TEST_CASE(second_order_of_small_groups_and_products) {
  Generator random(17);
  for (const int64_t n : {2, 3, 4})
    for (const double eps : {1e-5, 1e39})
      for (const double w_size : {1e-25, 1.0}) {
        const double upstream_size = w_size < 1 ? 1e20 : 1;
        const Tensor x = randn({5, n}, random), w = mul(add(randn({n}, random), 3), w_size);
        const auto second = [&](DType dtype) {
          const Tensor at = cast(x, dtype).set_requires_grad(),
                       weight = cast(w, dtype).set_requires_grad(),
                       dy = upstream(at, w_size, true).set_requires_grad();
          Tape tape;
          const Tensor dx = tape.gradient(layer_norm(at, {n}, weight, {}, {.eps = eps}), at,
                                          {.create_graph = CreateGraph::yes, .dy = dy});
          return tape.gradient(dx, {at, weight, dy}, {.dy = upstream(dx, upstream_size, true)});
        };
        const std::vector<Tensor> got = second(DType::f32), expected = second(DType::f64);
        for (size_t i = 0; i < got.size(); ++i)
          compare(fmt::format("{} values, eps {}, w {}, result {}", n, eps, w_size, i), got[i],
                  expected[i], 0x1p-18);
      }
}

// dx = w r dy whichever product leaves f32, recorded or not.
BOOST_AUTO_TEST_CASE(batch_norm_inference_of_far_sizes) {
  Generator random(19);
  const Tensor x = randn({6, 3}, random);
  for (const double var : {1e-30, 1.0, 1e38})
    for (const double w : {1e-30, 1.0, 1e30})
      for (const double dy : {1e-30, 1.0, 1e30})
        for (const CreateGraph graph : {CreateGraph::no, CreateGraph::yes}) {
          const auto gradients = [&](DType dtype) {
            const Tensor at = cast(x, dtype).set_requires_grad(),
                         weight = full({3}, w, dtype).set_requires_grad();
            Tape tape;
            const Tensor y = batch_norm_inference(at, full({3}, 0.3, dtype), full({3}, var, dtype),
                                                  weight, {}, {.eps = 1e-32});
            return tape.gradient(y, {at, weight},
                                 {.create_graph = graph, .dy = upstream(y, dy, true)});
          };
          const std::vector<Tensor> got = gradients(DType::f32), expected = gradients(DType::f64);
          for (size_t i = 0; i < got.size(); ++i)
            compare(fmt::format("var {}, w {}, dy {}, result {}", var, w, dy, i), got[i],
                    expected[i]);
        }
}

// y = xhat w + b where xhat w alone leaves f32.
BOOST_AUTO_TEST_CASE(steep_weights) {
  const Tensor x = reshape(Tensor::of({1.0, 2.0, 3.0, 4.0}), {1, 4});
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const auto results = [&](DType dtype) -> TensorList {
      const Tensor w = cast(full({4}, 3e38, DType::f32), dtype),
                   b = cast(cast(Tensor::of({3e38, 0.0, 0.0, -3e38}), DType::f32), dtype),
                   at = cast(x, dtype);
      return {layer_norm(at, {4}, w, b, {.activation = activation}),
              group_norm(at, 1, w, b, {.activation = activation})};
    };
    const TensorList got = results(DType::f32), expected = results(DType::f64);
    for (size_t i = 0; i < got.size(); ++i)
      compare(fmt::format("steep {}", i), got[i], expected[i]);
  }
}

// y depends on x / sqrt(eps) alone: with powers of two both are the same numbers at any size.
BOOST_AUTO_TEST_CASE(norms_of_f64_to_third_order) {
  using Norm = std::function<Tensor(const Tensor& x, const Tensor& w, double eps)>;
  const std::pair<const char*, Norm> norms[] = {
      {"layer_norm",
       [](auto& x, auto& w, double eps) {
         return layer_norm(reshape(x, {4, 15}), {15},
                           reshape(expand(unsqueeze(w, 1), {3, 5}), {15}), {}, {.eps = eps});
       }},
      {"rms_norm",
       [](auto& x, auto& w, double eps) {
         return rms_norm(reshape(x, {4, 15}), {15}, reshape(expand(unsqueeze(w, 1), {3, 5}), {15}),
                         {.eps = eps});
       }},
      {"group_norm", [](auto& x, auto& w, double eps) { return group_norm(x, 3, w, {}, {eps}); }},
      {"batch_norm", [](auto& x, auto& w, double eps) { return batch_norm(x, w, {}, {eps}).y; }}};
  Generator random(11);
  const auto drawn = [&](const Shape& shape) { return cast(randn(shape, random), DType::f64); };
  const Shape shape{4, 3, 5};
  const Tensor x = add(drawn(shape), 0.7), w = add(drawn({3}), 2), dy = drawn(shape),
               p = drawn(shape), pw = drawn({3}), u = drawn(shape);
  // What the gradients and their gradients are where x is `scale` larger, in the units of scale 1.
  const auto results = [&](const Norm& norm, const Tensor& scale, double eps) {
    const Tensor inverse = reciprocal(scale);
    const Tensor at = (x * scale).set_requires_grad(), weight = raw::clone(w).set_requires_grad(),
                 upstream = raw::clone(dy).set_requires_grad();
    Tape tape;
    const Tensor y = reshape(norm(at, weight, eps), shape);
    const auto first =
        tape.gradient(y, {at, weight}, {.create_graph = CreateGraph::yes, .dy = upstream});
    const Tensor f = sum(first[0] * scale * p) + sum(first[1] * pw);
    const auto second =
        tape.gradient(f, {at, weight, upstream}, {.create_graph = CreateGraph::yes});
    const Tensor third = tape.gradient(sum(second[2] * u), at);
    return TensorList{y,         first[0] * scale, first[1],     second[0] * scale,
                      second[1], second[2],        third * scale};
  };
  const auto mixed = [](const Shape& of) {
    std::vector<double> scale;
    for (int64_t i = 0; i < of.numel(); ++i)
      scale.push_back(std::ldexp(1, i % 2 == 0 ? 664 : -500));
    return Tensor::from(scale, of);
  };
  for (const auto& [name, norm] : norms) {
    const TensorList expected = results(norm, ones({}, DType::f64), 0);
    const auto check = [&, &name = name, &norm = norm](const char* what, const Tensor& scale,
                                                       double eps) {
      const TensorList got = results(norm, scale, eps);
      for (size_t i = 0; i < got.size(); ++i)
        compare(fmt::format("{} {}, result {}", name, what, i), got[i], expected[i], 0x1p-42);
    };
    for (int exponent : {-1000, -664, -500, 500, 540, 664, 1000}) {
      const std::string what = "times 2^" + std::to_string(exponent);
      check(what.c_str(), full({}, std::ldexp(1, exponent), DType::f64), 0);
      if (exponent > 0) check(what.c_str(), full({}, std::ldexp(1, exponent), DType::f64), 1e-5);
    }
    const bool batch = std::string(name) == "batch_norm";
    check("of mixed sizes", mixed(batch ? Shape{1, 3, 1} : Shape{4, 1, 1}), 0);
  }
}

namespace {

/// Both signs, every third exponent, and what is often asked for.
Tensor whole_range() {
  std::vector<float> x{0, 2, 3, 0.5, 1e-3F, 17, 3.4e38F};
  for (int exponent = -126; exponent < 128; exponent += 3)
    for (float significand : {1.F, 1.3F, 1.999F}) x.push_back(std::ldexp(significand, exponent));
  for (size_t i = 0, n = x.size(); i < n; ++i) x.push_back(-x[i]);
  return Tensor::from(x, {static_cast<int64_t>(x.size())});
}

bool holds(double v) { return v == 0 || (std::abs(v) <= 3.4e38 && std::abs(v) >= 0x1p-126); }

using Binary = Tensor (*)(const Tensor&, const Tensor&);

struct Gradients {
  std::vector<double> y, da, db;
};
Gradients gradients_of(Binary f, DType dtype, double dy) {
  const Tensor x = cast(whole_range(), dtype);
  const Shape shape{x.numel(), x.numel()};
  Tensor a = contiguous(expand(unsqueeze(x, 1), shape)), b = contiguous(expand(x, shape));
  a.set_requires_grad(), b.set_requires_grad();
  Tape tape;
  const Tensor y = f(a, b);
  const std::vector<Tensor> dx = tape.gradient(y, std::array{a, b}, {.dy = full(shape, dy, dtype)});
  return {y.to_vector<double>(), dx[0].to_vector<double>(), dx[1].to_vector<double>()};
}

}  // namespace

// Where f32 holds the result, the slope (of pow: and the power in it), and the slope times dy, the
// gradient is off by at most 2^-20 of it and what four rounding errors in pow's exponent make of
// it.
BOOST_AUTO_TEST_CASE(two_arguments) {
  struct Row {
    const char* name;
    Binary f;
  };
  const std::vector<double> x = whole_range().to_vector<double>();
  const size_t n = x.size();
  for (const Row& row : {Row{"add", add}, Row{"sub", sub}, Row{"mul", mul}, Row{"div", div},
                         Row{"pow", pow}, Row{"maximum", maximum}, Row{"minimum", minimum}}) {
    const bool is_power = row.f == Binary(pow);
    const Gradients slope = gradients_of(row.f, DType::f64, 1);
    for (const float dy : {1.F, 1e-30F, 1e30F}) {
      const Gradients got = gradients_of(row.f, DType::f32, static_cast<double>(dy));
      for (auto side : {&Gradients::da, &Gradients::db})
        for (size_t i = 0; i < slope.y.size(); ++i) {
          const double s = (slope.*side)[i], exact = s * static_cast<double>(dy);
          if (!holds(slope.y[i]) || !holds(s) || !holds(exact)) continue;
          const double b = x[i % n], power = is_power && side == &Gradients::da ? s / b : s;
          if (is_power && (!holds(power) || std::abs(b) >= 0x1p24)) continue;  // b - 1 is rounded
          const double log = s == 0 ? 0 : std::abs(std::log(std::abs(power))),
                       off = std::abs((got.*side)[i] - exact), share = 0x1p-20 + 0x1p-22 * log;
          if (!(off <= share * std::abs(exact)))
            BOOST_ERROR(row.name << " of " << x[i / n] << " and " << x[i % n] << ", dy " << dy
                                 << ": the gradient of " << (side == &Gradients::da ? "a" : "b")
                                 << " is " << (got.*side)[i] << ", not " << exact);
        }
    }
  }
}

#define BOOST_TEST_MODULE long_sums
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/rnn.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/tape.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

using namespace gradus;

// Sums of very many terms in f32, in values and in gradients: their error does not grow with the
// number of terms as that of a sum does which adds them one by one. Equal terms are the worst case,
// since then every rounding goes the same way. index_add, scatter_add, embedding and the gradients
// of gather, index_select and max_pool2d do add one by one, as PyTorch's do.
namespace {

using Inputs = std::vector<Tensor>;

/// Slowly from one number to twice that; all equal; a number and its opposite in turn along every
/// axis, of which the squares are equal.
enum class Kind : uint8_t { varying, equal, opposite };
std::string described(Kind kind) {
  if (kind == Kind::equal) return ", equal values";
  return kind == Kind::opposite ? ", opposite values" : "";
}

struct Case {
  std::string name;
  std::vector<Shape> inputs;
  std::function<Tensor(const Inputs&)> f;
  double bound = 0x1p-19;  // of the largest of a result
  std::vector<Kind> kinds = {Kind::varying, Kind::equal};
};

// exp of a logarithm of 1 / kMany, which is rounded.
constexpr double kOfLogarithms = 0x1p-18;
// These add up pieces of 256 terms in f32, the pieces one by one.
constexpr double kOfProducts = 0x1p-16;
constexpr int64_t kMany = 200'000;
// Where equal values leave but the roundings of a gradient.
const std::vector<Kind> kVarying = {Kind::varying};

Tensor labels(int64_t rows, int64_t classes) {
  std::vector<int64_t> all(static_cast<size_t>(rows));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i) % classes;
  return Tensor::from(all, {rows});
}

Tensor first(const Inputs& x) { return x[0]; }

std::vector<Case> reductions() {
  return {
      {"sum", {{kMany}}, [](const Inputs& x) { return sum(first(x)); }},
      {"sum of rows", {{2, kMany}}, [](const Inputs& x) { return sum(first(x), {1}); }},
      {"sum of columns", {{kMany, 3}}, [](const Inputs& x) { return sum(first(x), {0}); }},
      {"sum along the middle", {{2, kMany, 3}}, [](const Inputs& x) { return sum(first(x), {1}); }},
      {"sum over two axes",
       {{500, 3, 500}},
       [](const Inputs& x) {
         return sum(x[0], {0, 2});
       }},
      {"mean", {{kMany}}, [](const Inputs& x) { return mean(x[0]); }},
      {"mean of columns", {{kMany, 3}}, [](const Inputs& x) { return mean(x[0], {0}); }},
      {"var", {{3, kMany}}, [](const Inputs& x) { return var(x[0], {1}); }},
      {"logsumexp", {{3, kMany}}, [](const Inputs& x) { return logsumexp(x[0]); }},
      {"softmax", {{3, kMany}}, [](const Inputs& x) { return softmax(x[0]); }, 0x1p-19, kVarying},
      {"log_softmax",
       {{3, kMany}},
       [](const Inputs& x) { return log_softmax(x[0]); },
       kOfLogarithms,
       kVarying},
      {"a sum over what was broadcast",
       {{kMany, 3}, {3}},
       [](const Inputs& x) { return x[0] + x[1]; }},
      {"a sum over what was expanded",
       {{3, 1}},
       [](const Inputs& x) {
         return expand(x[0], {3, kMany});
       }},
      {"group_mean", {{3, kMany}}, [](const Inputs& x) {
         return group_mean(layer_norm_groups(x[0], {kMany}), x[0]);
       }}};
}

std::vector<Case> losses() {
  const auto half = [](const Tensor& x) { return mul(x, 0.5); };
  return {
      {"mse_loss", {{kMany}}, [=](const Inputs& x) { return mse_loss(x[0], half(x[0])); }},
      {"huber_loss", {{kMany}}, [](const Inputs& x) { return huber_loss(x[0], neg(x[0]), 1e-3); }},
      {"binary_cross_entropy_with_logits",
       {{kMany}},
       [](const Inputs& x) {
         return binary_cross_entropy_with_logits(x[0], zeros(x[0].shape(), x[0].dtype()));
       }},
      {"cross_entropy of many rows",
       {{kMany, 3}},
       [](const Inputs& x) { return cross_entropy(x[0], labels(kMany, 3)); }},
      {"cross_entropy of many classes", {{3, kMany}}, [](const Inputs& x) {
         return cross_entropy(x[0], labels(3, kMany), {.label_smoothing = 0.1});
       }}};
}

Tensor batch_norm_of(const Inputs& x) { return batch_norm(x[0], x[1], x[2]).y; }

std::vector<Case> norms() {
  std::vector<Case> all = {
      {"layer_norm of long rows",
       {{2, kMany}, {kMany}, {kMany}},
       [](const Inputs& x) { return layer_norm(x[0], {kMany}, x[1], x[2]); }},
      {"layer_norm of many rows",
       {{kMany, 4}, {4}, {4}},
       [](const Inputs& x) { return layer_norm(x[0], {4}, x[1], x[2]); }},
      {"rms_norm of long rows",
       {{2, kMany}, {kMany}},
       [](const Inputs& x) { return rms_norm(x[0], {kMany}, x[1], {.eps = 1e-5}); }},
      {"rms_norm of many rows",
       {{kMany, 4}, {4}},
       [](const Inputs& x) { return rms_norm(x[0], {4}, x[1], {.eps = 1e-5}); }},
      {"group_norm",
       {{2, 4, kMany}, {4}, {4}},
       [](const Inputs& x) { return group_norm(x[0], 2, x[1], x[2]); }},
      {"batch_norm of runs", {{2, 3, kMany}, {3}, {3}}, batch_norm_of},
      {"batch_norm of columns", {{kMany, 3}, {3}, {3}}, batch_norm_of},
      {"batch_norm of many columns", {{5000, 101}, {101}, {101}}, batch_norm_of},
      {"batch_norm of pairs", {{kMany, 3, 2}, {3}, {3}}, batch_norm_of},
      {"batch_norm of tiny maps", {{kMany, 3, 2, 2}, {3}, {3}}, batch_norm_of},
      {"batch_norm of small maps", {{20'000, 2, 7, 7}, {2}, {2}}, batch_norm_of},
      {"batch_norm_inference", {{2, 3, kMany}, {3}, {3}}, [](const Inputs& x) {
         const Tensor mean = full({3}, 0.05, x[0].dtype());
         return batch_norm_inference(x[0], mean, mean, x[1], x[2]);
       }}};
  for (Case& c : all) c.kinds = {Kind::varying, Kind::opposite};  // equal ones leave roundings
  return all;
}

std::vector<Case> products() {
  const auto conv = [](ConvAlgorithm algorithm, Pair stride = {1, 1}) {
    return [=](const Inputs& x) {
      const bool own = x[0].dtype() == DType::f32;
      return conv2d(x[0], x[1], x[2],
                    {.stride = stride, .algorithm = own ? algorithm : ConvAlgorithm::automatic});
    };
  };
  const auto linear_of = [](const Inputs& x) { return linear(x[0], x[1], x[2]); };
  const auto attention_of = [](const Inputs& x) {
    return scaled_dot_product_attention(x[0], x[1], x[2]);
  };
  std::vector<Case> all = {
      {"linear of many rows", {{kMany, 4}, {3, 4}, {3}}, linear_of},
      {"linear of many inputs", {{2, kMany}, {3, kMany}, {3}}, linear_of},
      {"matmul", {{2, kMany}, {kMany, 2}}, [](const Inputs& x) { return matmul(x[0], x[1]); }},
      {"a product of vectors",
       {{1, kMany}, {kMany, 1}},
       [](const Inputs& x) { return matmul(x[0], x[1]); }},
      {"attention of many queries", {{kMany, 2}, {3, 2}, {3, 2}}, attention_of},
      {"attention of many keys",
       {{3, 2}, {kMany, 2}, {kMany, 2}},
       attention_of,
       kOfProducts,
       kVarying},
      {"conv2d, winograd", {{2, 8, 300, 300}, {8, 8, 3, 3}, {8}}, conv(ConvAlgorithm::winograd)},
      {"conv2d, winograd, many images",
       {{20'000, 8, 4, 4}, {8, 8, 3, 3}, {8}},
       conv(ConvAlgorithm::winograd)},
      {"conv2d, direct", {{2, 1, 300, 300}, {2, 1, 3, 3}, {2}}, conv(ConvAlgorithm::direct)},
      {"conv2d, direct, many images",
       {{kMany, 1, 2, 2}, {2, 1, 2, 2}, {2}},
       conv(ConvAlgorithm::direct)},
      {"conv2d, im2col", {{2, 1, 300, 300}, {2, 1, 3, 3}, {2}}, conv(ConvAlgorithm::im2col)},
      {"conv2d, im2col, many images",
       {{kMany, 1, 2, 2}, {2, 1, 2, 2}, {2}},
       conv(ConvAlgorithm::im2col)},
      {"conv2d with a kernel as large as the image",
       {{2, 1, 300, 300}, {2, 1, 300, 300}, {2}},
       conv(ConvAlgorithm::automatic)},
      {"conv2d, pointwise", {{kMany, 2, 1, 1}, {3, 2, 1, 1}, {3}}, conv(ConvAlgorithm::automatic)}};
  for (CellKind kind : {CellKind::tanh, CellKind::lstm, CellKind::gru}) {
    const int64_t gates = gates_of(kind) * 2;
    all.push_back({std::string("a recurrence of many sequences, ") + std::to_string(gates),
                   {{kMany, 2, 3}, {gates, 3}, {gates, 2}, {gates}, {gates}},
                   [=](const Inputs& x) {
                     return recurrence(kind, x[0], {}, {x[1], x[2], x[3], x[4]}).y;
                   }});
  }
  for (Case& c : all) c.bound = kOfProducts;
  return all;
}

std::vector<Case> poolings() {
  const auto pool = [](Pair kernel, const Pool2dOptions& options) {
    return [=](const Inputs& x) { return avg_pool2d(x[0], kernel, options); };
  };
  const auto adaptive = [](Pair output) {
    return [=](const Inputs& x) { return adaptive_avg_pool2d(x[0], output); };
  };
  return {{"avg_pool2d", {{2, 1, 450, 450}}, pool({450, 450}, {})},
          {"avg_pool2d of one row", {{1, 1, 1, kMany}}, pool({1, kMany / 2}, {})},
          {"avg_pool2d of padded windows",
           {{1, 1, 300, 300}},
           pool({280, 280}, {.padding = {100, 100}, .count_include_pad = false})},
          {"avg_pool2d of windows that overlap",
           {{1, 1, 120, 120}},
           pool({60, 60}, {.stride = Pair{1, 1}})},
          {"adaptive_avg_pool2d", {{2, 1, 450, 450}}, adaptive({1, 1})},
          {"adaptive_avg_pool2d to few", {{1, 1, 33, 31}}, adaptive({1, 1})},
          {"adaptive_avg_pool2d to some", {{1, 1, 301, 450}}, adaptive({2, 3})},
          {"adaptive_avg_pool2d of few to many", {{1, 1, 2, 1}}, adaptive({450, 450})}};
}

/// The same f32 numbers in either dtype.
Tensor values(const Shape& shape, Kind kind, float least, DType dtype) {
  std::vector<float> x(static_cast<size_t>(shape.numel()), least);
  const size_t sample = shape.ndim() > 1 ? x.size() / static_cast<size_t>(shape[0]) : 1;
  for (size_t i = 0; i < x.size() && kind != Kind::equal; ++i)
    x[i] = kind == Kind::varying
               ? least * (1 + static_cast<float>(i) / static_cast<float>(x.size()))
               : ((i % sample + i / sample) % 2 == 0 ? least : -least);
  return cast(Tensor::from(x, shape), dtype);
}

/// Neither a multiple of x, of which a norm's gradient would be 0, nor without any part along x, of
/// which its weight's would be.
Tensor upstream(const Tensor& x, const Tensor& y, Kind kind) {
  std::vector<float> dy(static_cast<size_t>(y.numel()), 0.7F);
  for (size_t i = 0; i < dy.size() && kind == Kind::varying; ++i) {
    const float share = static_cast<float>(i) / static_cast<float>(dy.size());
    dy[i] = (0.7F + 0.3F * static_cast<float>(i % 5)) * (0.1F + share);
  }
  if (kind == Kind::opposite) {
    const std::vector<double> of = cast(x, DType::f64).to_vector<double>();
    for (size_t i = 0; i < dy.size(); ++i) dy[i] = of[i] < 0 ? 0.3F : 0.7F;
    dy[0] = 100;
  }
  return cast(Tensor::from(dy, y.shape()), y.dtype());
}

Inputs results(const Case& c, Kind kind, DType dtype) {
  Inputs x;
  float least = 0.1F;
  for (const Shape& shape : c.inputs) {
    x.push_back(
        values(shape, x.empty() || kind == Kind::equal ? kind : Kind::varying, least, dtype));
    least += 0.03F;
  }
  for (Tensor& leaf : x) leaf.set_requires_grad();
  Tape tape;
  Inputs all{c.f(x)};
  const Tensor dy = upstream(x[0], all[0], kind);
  for (Tensor& dx : tape.gradient(all[0], x, {.dy = dy, .allow_unused = true}))
    all.push_back(std::move(dx));
  return all;
}

/// The largest error, as a part of the largest that is expected.
double error_of(const Tensor& got, const Tensor& expected) {
  const std::vector<double> a = cast(got, DType::f64).to_vector<double>(),
                            b = expected.to_vector<double>();
  double largest = 0, error = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    largest = std::max(largest, std::abs(b[i]));
    const double off = std::abs(a[i] - b[i]);
    error = off <= error ? error : off;
  }
  return error == 0 ? 0 : error / largest;
}

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases)
    for (Kind kind : c.kinds) {
      const Inputs got = results(c, kind, DType::f32), expected = results(c, kind, DType::f64);
      for (size_t i = 0; i < got.size(); ++i) {
        if (!expected[i]) continue;
        const double error = error_of(got[i], expected[i]);
        const std::string what =
            c.name + described(kind) + (i == 0 ? "" : ", gradient " + std::to_string(i));
        BOOST_TEST_MESSAGE(what << ": " << error * 0x1p24 << " / 2^24");
        if (!(error <= c.bound)) BOOST_ERROR(what << " is off by " << error << " of the largest");
      }
    }
}

}  // namespace

BOOST_AUTO_TEST_CASE(of_reductions) { check(reductions()); }
BOOST_AUTO_TEST_CASE(of_losses) { check(losses()); }
BOOST_AUTO_TEST_CASE(of_norms) { check(norms()); }
BOOST_AUTO_TEST_CASE(of_products) { check(products()); }
BOOST_AUTO_TEST_CASE(of_poolings) { check(poolings()); }

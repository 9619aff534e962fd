#define BOOST_TEST_MODULE numbers
#include <gradus/gradus.h>

#include <functional>

#include "tests/checks.h"

using namespace gradus;

// A number that comes as a double is one that the dtype holds, or an error that names the function.
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNaN = std::numeric_limits<double>::quiet_NaN();

struct Taker {
  const char* name;
  std::function<void(double value, const Tensor& like)> f;
  bool integers = false;  // whether it takes i64
  double least = -kInf;   // what it takes at all
};

const std::vector<Taker>& takers() {
  const auto positive = [](const Tensor& x) { return greater(x, 0); };
  static const std::vector<Taker> all{
      {"Tensor::of",
       [](double v, const Tensor& x) {
         Tensor::of({1, v}, x.dtype());
       },
       true},
      {"Tensor::of",
       [](double v, const Tensor& x) {
         Tensor::of({{1, 0}, {0, v}}, x.dtype());
       },
       true},
      {"full", [](double v, const Tensor& x) { full({2}, v, x.dtype()); }, true},
      {"fill", [](double v, const Tensor& x) { raw::fill(*std::make_unique<Tensor>(x), v); }, true},
      {"fill_", [](double v, const Tensor& x) { fill_(*std::make_unique<Tensor>(x), v); }, true},
      {"where", [=](double v, const Tensor& x) { where(positive(x), x, v); }, true},
      {"where", [=](double v, const Tensor& x) { where(positive(x), v, x); }, true},
      {"masked_fill", [=](double v, const Tensor& x) { masked_fill(x, positive(x), v); }, true},
      {"pad_sequence",
       [](double v, const Tensor& x) {
         pad_sequence({x, x}, v);
       },
       true},
      {"pad",
       [](double v, const Tensor& x) {
         pad(x, {1, 1}, PadMode::constant, v);
       },
       true},
      {"arange", [](double v, const Tensor& x) { arange(v, v, 1, x.dtype()); }, true},
      {"leaky_relu", [](double v, const Tensor& x) { leaky_relu(x, v); }},
      {"elu", [](double v, const Tensor& x) { elu(x, v); }},
      {"clamp", [](double v, const Tensor& x) { clamp(x, v, kInf); }},
      {"clamp", [](double v, const Tensor& x) { clamp(x, -kInf, v); }},
      {"inside", [](double v, const Tensor& x) { inside(x, v, 1); }},
      {"inside", [](double v, const Tensor& x) { inside(x, 1, v); }},
      {"add", [](double v, const Tensor& x) { x + v; }, true},
      {"add", [](double v, const Tensor& x) { v + x; }, true},
      {"add", [](double v, const Tensor& x) { x - v; }, true},
      {"affine", [](double v, const Tensor& x) { v - x; }, true},
      {"affine", [](double v, const Tensor& x) { affine(x, v, 1); }, true},
      {"affine", [](double v, const Tensor& x) { affine(x, 1, v); }, true},
      {"mul", [](double v, const Tensor& x) { x* v; }, true},
      {"mul", [](double v, const Tensor& x) { v* x; }, true},
      {"div", [](double v, const Tensor& x) { x / v; }},
      {"div", [](double v, const Tensor& x) { v / x; }},
      {"pow", [](double v, const Tensor& x) { pow(x, v); }},
      {"huber_loss", [](double v, const Tensor& x) { huber_loss(x, x, v); }, false, 0},
      {"uniform",
       [](double v, const Tensor& x) {
         Generator generator(1);
         uniform({2}, std::min(v, 0.0), std::max(v, 0.0), generator, x.dtype());
       }},
      {"scaled_dot_product_attention",
       [](double v, const Tensor& x) {
         const Tensor q = reshape(x, {1, 2});
         scaled_dot_product_attention(q, q, q, {.scale = v});
       }},
      {"Init", [](double v, const Tensor& x) { Parameter({2}, Init::constant(v), x.dtype()); }},
      {"Init", [](double v, const Tensor& x) { Parameter({2}, Init::uniform(v), x.dtype()); },
       false, 0},
      {"Init", [](double v, const Tensor& x) { Parameter({2}, Init::normal(v), x.dtype()); }, false,
       0},
  };
  return all;
}

void check_refused(const Taker& taker, double value, DType dtype) {
  const Tensor x = ones({2}, dtype);
  try {
    taker.f(value, x);
    BOOST_TEST(false, taker.name << " takes " << value << " for " << name(dtype));
  } catch (const Error& error) {
    const std::string message = error.what();
    BOOST_TEST(message.starts_with(std::string(taker.name) + ": "), message);
    const bool cause = message.find("is no number of dtype") != std::string::npos ||
                       message.find("give it in a tensor of i64") != std::string::npos;
    BOOST_TEST(cause, message);
  }
  BOOST_TEST(all(equal(x, 1)), taker.name << " changed what it refused");
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_number_is_held_or_refused) {
  const double most = std::numeric_limits<float>::max();
  for (const Taker& taker : takers()) {
    for (double value : {1e39, -1e39, 1e300, -1e300, most * (1 + 0x1p-24), -most * (1 + 0x1p-24)})
      if (value > taker.least) check_refused(taker, value, DType::f32);
    for (double value : {1e39, 0.1, most}) taker.f(value, ones({2}, DType::f64));
    for (double value : {0.1, 1.0, most * (1 + 0x1p-26)}) taker.f(value, ones({2}));
    if (!taker.integers) continue;
    for (double value : {0.5, -1.5, 1e300, kInf, -kInf, kNaN, 0x1p53, -0x1p53, 0x1p63, -0x1p63})
      check_refused(taker, value, DType::i64);
    for (double value : {-3.0, 0x1p53 - 1, 1 - 0x1p53}) taker.f(value, ones({2}, DType::i64));
  }
  BOOST_TEST(Tensor::of({0x1p53 - 1}, DType::i64).to_vector<int64_t>()[0] ==
             (int64_t{1} << 53) - 1);
  BOOST_TEST(Tensor::of({-kInf}).item() == -kInf);
}

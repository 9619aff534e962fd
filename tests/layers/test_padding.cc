#define BOOST_TEST_MODULE padding
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/attention.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/lengths.h>
#include <gradus/layers/rnn.h>
#include <gradus/models/transformer.h>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

using namespace gradus;

// Padding never matters: with NaN in it, outputs, states, statistics and all gradients equal those
// of each sequence by itself.
namespace {

AnyNorm over_steps(int64_t features) { return BatchNorm(features, {.channels_last = true}); }

constexpr double kTolerance = 1e-12;
constexpr int64_t kSteps = 5, kFeatures = 3;
const std::vector<int64_t> kLengths = {5, 2, 1, 4};

Tensor lengths() { return Tensor::from(kLengths, {static_cast<int64_t>(kLengths.size())}); }

Tensor sequence(size_t n) { return sample({1, kLengths[n], kFeatures}, 10 + n); }

/// All sequences in one, NaN where they have ended.
Tensor padded() {
  Tensor x = full({static_cast<int64_t>(kLengths.size()), kSteps, kFeatures},
                  std::numeric_limits<double>::quiet_NaN(), DType::f64);
  for (size_t n = 0; n < kLengths.size(); ++n) {
    Tensor place =
        slice(slice(x, 0, static_cast<int64_t>(n), static_cast<int64_t>(n) + 1), 1, 0, kLengths[n]);
    raw::copy(sequence(n), place);
  }
  return x.set_requires_grad();
}

/// A head that weighs every output differently: of sequence n, step t, output j.
Tensor head_of(const Tensor& y, size_t n) {
  const Tensor weights = slice(sample({1, kSteps, y.size(2)}, 50 + n), 1, 0, y.size(1));
  return sum(square(y) * raw::contiguous(weights).set_requires_grad(false) + y);
}

Tensor part(const Tensor& y, size_t n) {
  return slice(slice(y, 0, static_cast<int64_t>(n), static_cast<int64_t>(n) + 1), 1, 0,
               kLengths[n]);
}

void check_equal(const Tensor& a, const Tensor& b, const std::string& what) {
  BOOST_REQUIRE_MESSAGE(a && b && a.shape() == b.shape(), what);
  const auto u = a.to_vector<double>(), v = b.to_vector<double>();
  for (size_t i = 0; i < u.size(); ++i)
    BOOST_TEST(std::abs(u[i] - v[i]) <= kTolerance * std::max(1.0, std::abs(v[i])),
               what << " [" << i << "]: " << u[i] << " and " << v[i]);
}

/// Runs f on the padded batch and on each sequence alone, and compares everything.
template <class M, class F>
void check_padding(M& model, F f) {
  model.to(DType::f64);
  const Tensor x = padded();
  Tensor together;
  {
    Tape tape;
    together = f(x, lengths());
    Tensor total;
    for (size_t n = 0; n < kLengths.size(); ++n) {
      const Tensor loss = head_of(part(together, n), n);
      total = total ? total + loss : loss;
    }
    tape.backward(total);
  }
  std::vector<Tensor> batched;
  for (Tensor parameter : model.parameters()) {
    batched.push_back(parameter.grad());
    parameter.set_grad({});
  }
  for (size_t n = 0; n < kLengths.size(); ++n) {
    const Tensor alone = sequence(n);
    Tape tape;
    const Tensor y = f(alone, Tensor());
    tape.backward(head_of(y, n));
    check_equal(part(together, n), y, fmt::format("sequence {}: y", n));
    check_equal(part(x.grad(), n), alone.grad(), fmt::format("sequence {}: dx", n));
    const Tensor rest =
        slice(slice(together, 0, static_cast<int64_t>(n), static_cast<int64_t>(n) + 1), 1,
              kLengths[n], kSteps);
    for (double value : rest.to_vector<double>()) BOOST_TEST(value == 0);
    const Tensor rest_dx =
        slice(slice(x.grad(), 0, static_cast<int64_t>(n), static_cast<int64_t>(n) + 1), 1,
              kLengths[n], kSteps);
    for (double value : rest_dx.to_vector<double>()) BOOST_TEST(value == 0);
  }
  size_t i = 0;
  for (const auto& [name, parameter] : model.named_parameters())
    check_equal(batched[i++], parameter.grad(), "gradient of " + name);
}

}  // namespace

BOOST_AUTO_TEST_CASE(layer_norm_in_a_cell) {
  Rnn model(kFeatures, 4, {.cell = {.norm = [](int64_t n) { return LayerNorm(n); }}});
  check_padding(model, [&](const Tensor& x, const Tensor& n) { return model(x, n).y; });
  const RnnOutput out = model(padded(), lengths());
  for (size_t n = 0; n < kLengths.size(); ++n)
    check_equal(slice(out.h, 0, static_cast<int64_t>(n), static_cast<int64_t>(n) + 1),
                model(sequence(n)).h, "last state");
}

template <class Cell>
void check_recurrent() {
  for (int norms : {0, 1, 2}) {
    Recurrent<Cell> model(kFeatures, 4,
                          {.norm = norms > 0 ? over_steps : MakeNorm(), .norm_steps = norms});
    if (norms > 0) {  // in training its statistics are over the whole batch
      model.to(DType::f64);
      model(sample({4, kSteps, kFeatures}, 2));
      model.eval();
    }
    check_padding(model, [&](const Tensor& x, const Tensor& n) { return model(x, n).y; });
    const RnnOutput out = model(padded(), lengths());
    for (size_t n = 0; n < kLengths.size(); ++n) {
      const auto i = static_cast<int64_t>(n);
      const RnnOutput alone = model(sequence(n));
      check_equal(slice(out.h, 0, i, i + 1), alone.h, "last state");
      if (out.c) check_equal(slice(out.c, 0, i, i + 1), alone.c, "last cell");
    }
  }
}

template <class Cell>
void check_stacked() {
  for (bool bidirectional : {false, true}) {
    Recurrent<Cell> model(kFeatures, 4, {.num_layers = 2, .bidirectional = bidirectional});
    check_padding(model, [&](const Tensor& x, const Tensor& n) { return model(x, n).y; });
    const RnnOutput out = model(padded(), lengths());
    for (size_t n = 0; n < kLengths.size(); ++n) {
      const auto i = static_cast<int64_t>(n);
      const RnnOutput alone = model(sequence(n));
      check_equal(slice(out.h, 1, i, i + 1), alone.h, "last states");
      if (out.c) check_equal(slice(out.c, 1, i, i + 1), alone.c, "last cells");
    }
  }
}

BOOST_AUTO_TEST_CASE(stacked) {
  check_stacked<RnnCell>();
  check_stacked<LstmCell>();
  check_stacked<GruCell>();
}

BOOST_AUTO_TEST_CASE(elman) { check_recurrent<RnnCell>(); }
BOOST_AUTO_TEST_CASE(lstm) { check_recurrent<LstmCell>(); }
BOOST_AUTO_TEST_CASE(gru) { check_recurrent<GruCell>(); }

/// After a training step: outputs, last states, all gradients and statistics, with `fill` where
/// sequences have ended. Two or more go on to the end, as Batch Normalization of each step needs.
template <class Cell>
std::vector<double> trained(Recurrent<Cell> model, double fill) {
  model.to(DType::f64);
  const Tensor n = Tensor::of({5, 2, 1, 5}, DType::i64);
  Tensor x = where(unsqueeze(length_mask(n, kSteps), -1), sample({4, kSteps, kFeatures}, 1),
                   full({}, fill, DType::f64));
  x.set_requires_grad();
  Tape tape;
  const RnnOutput out = model(x, n);
  tape.backward(sum(square(out.y)) + sum(square(out.h)));
  std::vector<double> all;
  const auto add = [&](const Tensor& t) {
    for (double value : t.to_vector<double>()) all.push_back(value);
  };
  for (const Tensor& t : {out.y, out.h, x.grad()}) add(t);
  for (const Tensor& parameter : model.parameters()) add(parameter.grad());
  for (const auto& [path, buffer] : model.named_buffers()) add(buffer);
  return all;
}

using Cells = boost::mpl::list<RnnCell, LstmCell, GruCell>;
BOOST_AUTO_TEST_CASE_TEMPLATE(batch_norm_in_training, Cell, Cells) {
  for (int64_t steps : {0, 2, 5}) {  // one norm, the last norm for several steps, one a step
    const Recurrent<Cell> model(kFeatures, 4, {.norm = over_steps, .norm_steps = steps});
    const auto nan = trained(model, std::numeric_limits<double>::quiet_NaN()),
               number = trained(model, 7);
    for (double value : number) BOOST_TEST_REQUIRE(std::isfinite(value));
    BOOST_TEST((nan == number), "a norm for each of " << steps << " steps");
  }
}

BOOST_AUTO_TEST_CASE(attention) {
  MultiHeadAttention model(6, 2);
  Linear in(kFeatures, 6);
  in.to(DType::f64);
  for (Tensor parameter : in.parameters()) parameter.set_requires_grad(false);
  check_padding(model, [&](const Tensor& x, const Tensor& n) {
    const Tensor valid = n ? length_mask(n, x.size(1)) : Tensor();
    return model(in(x), {valid, {}, false});
  });
}

// Keys that a mask hides from all queries hold NaN: outputs and all gradients are those with 0.
BOOST_AUTO_TEST_CASE(attention_over_masked_keys) {
  MultiHeadAttention model(6, 2);
  model.to(DType::f64);
  const int64_t queries = 3, keys = 5;
  const Tensor there =
      less(reshape(arange(keys), {1, keys}), reshape(Tensor::of({2, 5}, DType::i64), {2, 1}));
  const Tensor mask = raw::reshape(there, {2, 1, 1, keys}), zero = zeros({}, DType::f64),
               barrier = full({}, -std::numeric_limits<double>::infinity(), DType::f64);
  for (const Tensor& m : {mask, where(mask, zero, barrier)}) {
    std::vector<std::vector<double>> results;
    for (double value : {0.0, std::numeric_limits<double>::quiet_NaN(), 1e20}) {
      const Tensor query = sample({2, queries, 6}, 1);
      Tensor key = where(unsqueeze(there, -1), sample({2, keys, 6}, 2), value);
      key.set_requires_grad();
      Tape tape;
      const Tensor y = model.forward(query, key, key, {{}, m, false});
      tape.backward(sum(square(y)));
      std::vector<double> all = y.to_vector<double>();
      for (Tensor t : {query, key}) {
        for (double v : t.grad().to_vector<double>()) all.push_back(v);
        t.set_grad({});
      }
      for (Tensor parameter : model.parameters()) {
        for (double v : parameter.grad().to_vector<double>()) all.push_back(v);
        parameter.set_grad({});
      }
      results.push_back(all);
    }
    BOOST_TEST((results[0] == results[1]));
    BOOST_TEST((results[0] == results[2]));
  }
}

BOOST_AUTO_TEST_CASE(layer_norm_of_steps) {
  LayerNorm model(kFeatures);
  check_padding(model, [&](const Tensor& x, const Tensor& n) {
    return model(x, n ? length_mask(n, x.size(1)) : Tensor());
  });
}

// BatchNorm's sequences alone are all valid positions one after the other.
BOOST_AUTO_TEST_CASE(batch_norm_over_valid_positions) {
  BatchNorm model(kFeatures, {.channels_last = true}), alone = model;
  model.to(DType::f64);
  alone.to(DType::f64);
  const Tensor x = padded();
  std::vector<Tensor> sequences;
  for (size_t n = 0; n < kLengths.size(); ++n) sequences.push_back(sequence(n));
  Tensor y, reference;
  {
    Tape tape;
    y = model(x, length_mask(lengths(), kSteps));
    Tensor total;
    for (size_t n = 0; n < kLengths.size(); ++n) {
      const Tensor loss = head_of(part(y, n), n);
      total = total ? total + loss : loss;
    }
    tape.backward(total);
  }
  {
    Tape tape;
    reference = alone(concat(sequences, 1));
    Tensor total;
    int64_t begin = 0;
    for (size_t n = 0; n < kLengths.size(); ++n) {
      const Tensor loss = head_of(slice(reference, 1, begin, begin + kLengths[n]), n);
      total = total ? total + loss : loss;
      begin += kLengths[n];
    }
    tape.backward(total);
  }
  int64_t begin = 0;
  for (size_t n = 0; n < kLengths.size(); ++n) {
    check_equal(part(y, n), slice(reference, 1, begin, begin + kLengths[n]), "y");
    check_equal(part(x.grad(), n), sequences[n].grad(), "dx");
    begin += kLengths[n];
  }
  check_equal(model.running_mean, alone.running_mean, "running mean");
  check_equal(model.running_var, alone.running_var, "running variance");
  check_equal(model.weight.grad(), alone.weight.grad(), "dweight");
  check_equal(model.bias.grad(), alone.bias.grad(), "dbias");
}

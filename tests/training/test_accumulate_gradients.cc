// The whole batch at once is what its parts must come to.
#define BOOST_TEST_MODULE accumulate_gradients
#include <gradus/gradus.h>

#include <stdexcept>

#include "tests/checks.h"

using namespace gradus;
using test::says;
using test::wave;

namespace {

using Forward = std::function<Tensor(int64_t from, int64_t to)>;

/// Gradients and buffers, by path.
NamedTensors results(Module& model) {
  NamedTensors all;
  for (const auto& [path, p] : model.named_parameters())
    all.emplace_back(path, p.grad() ? raw::clone(p.grad()) : zeros_like(p));
  for (const auto& [path, buffer] : model.named_buffers())
    all.emplace_back(path, raw::clone(buffer));
  return all;
}

void check_same(const NamedTensors& found, const NamedTensors& expected, double tolerance) {
  BOOST_REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    test::check_close(found[i].first, found[i].second, expected[i].second.to_vector<double>(),
                      tolerance);
}

/// loss(from, to) of rows of a batch whose cuts are given, by parts and at once, from the same
/// start.
template <class M, class Loss>
void check_parts(const M& start, const std::vector<int64_t>& cuts, const Loss& loss,
                 double tolerance) {
  M whole = start, parts = start;
  {
    Tape tape;
    const Tensor y = loss(whole, cuts.front(), cuts.back());
    tape.backward(y);
    const double total = accumulate_gradients(parts, std::ssize(cuts) - 1, [&](int64_t i) {
      return loss(parts, cuts[static_cast<size_t>(i)], cuts[static_cast<size_t>(i) + 1]);
    });
    BOOST_TEST(std::abs(total - y.item()) <= tolerance * std::max(1.0, std::abs(y.item())));
  }
  check_same(results(parts), results(whole), tolerance);
}

Tensor rows(const Tensor& x, int64_t from, int64_t to) { return slice(x, 0, from, to); }

}  // namespace

BOOST_AUTO_TEST_CASE(norms_behind_each_other) {
  for (DType dtype : {DType::f64, DType::f32}) {
    Sequential model(Linear(4, 5), BatchNorm(5), Tanh(), Linear(5, 3),
                     BatchNorm(3, {.activation = Activation::relu}), Linear(3, 3),
                     BatchNorm(3, {.momentum = std::nullopt, .affine = false}), Linear(3, 2));
    model.initialize(3);
    model.to(dtype);
    const Tensor x = raw::cast(wave({9, 4}, 2, 0.7, 1), dtype),
                 weights = raw::cast(wave({9, 2}, 1, 1.3), dtype);
    const auto loss = [&](Sequential& m, int64_t from, int64_t to) {
      const Tensor y = m(rows(x, from, to));
      return sum(square(y) * rows(weights, from, to)) / 9;
    };
    for (const std::vector<int64_t>& cuts :
         {std::vector<int64_t>{0, 9}, {0, 3, 4, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}})
      check_parts(model, cuts, loss, dtype == DType::f64 ? 1e-12 : 2e-5);
  }
}

BOOST_AUTO_TEST_CASE(images_far_from_0) {
  Sequential model(Conv2d(2, 3, 3), BatchNorm(3), Relu(), Conv2d(3, 2, 2), BatchNorm(2), Flatten());
  model.initialize(5);
  model.to(DType::f64);
  const Tensor x = wave({5, 2, 5, 5}, 1, 0.37, 100);
  const auto loss = [&](Sequential& m, int64_t from, int64_t to) {
    const Tensor y = m(rows(x, from, to));
    return sum(sin(y)) / 5;
  };
  check_parts(model, {0, 2, 5}, loss, 1e-10);
}

// Each part has some of each step's sequences, one of them none of the last.
BOOST_AUTO_TEST_CASE(masks_and_one_norm_in_several_steps) {
  const auto over_steps = [](int64_t n) { return BatchNorm(n, {.channels_last = true}); };
  Rnn model(2, 3, {.norm = over_steps, .norm_steps = 3});
  model.initialize(7);
  model.to(DType::f64);
  const Tensor x = wave({6, 3, 2}, 2, 0.7), lengths = Tensor::of({3, 1, 2, 3, 1, 3}, DType::i64);
  const auto loss = [&](Rnn& m, int64_t from, int64_t to) {
    return sum(sin(m(rows(x, from, to), rows(lengths, from, to)).y));
  };
  check_parts(model, {0, 3, 6}, loss, 1e-12);
}

BOOST_AUTO_TEST_CASE(gradients_are_added_and_a_model_without_norms_takes_one_pass) {
  Sequential model(Linear(4, 3), BatchNorm(3), Linear(3, 1));
  model.to(DType::f64);
  for (Tensor& p : model.parameters()) p.set_grad(ones(p.shape(), DType::f64));
  Sequential fresh = model;
  const Tensor x = wave({6, 4}, 2, 0.7);
  const auto loss_of = [&](Sequential& m) {
    return [&](int64_t i) { return sum(square(m(rows(x, 3 * i, 3 * i + 3)))); };
  };
  accumulate_gradients(model, 2, loss_of(model));
  accumulate_gradients(fresh, 2, loss_of(fresh));
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const Tensor g = fresh.parameters()[i].grad(), with = model.parameters()[i].grad();
    test::check_close("gradient", with - g, std::vector<double>(static_cast<size_t>(g.numel()), 1),
                      1e-13);
  }
  Sequential plain(Linear(4, 1)), frozen(BatchNorm(4), Linear(4, 1));
  dynamic_cast<BatchNorm&>(frozen[0]).freeze();
  for (Sequential* m : {&plain, &frozen}) {
    int calls = 0;
    accumulate_gradients(*m, 3, [&](int64_t) {
      ++calls;
      return sum((*m)(ones({2, 4})));
    });
    BOOST_TEST(calls == 3);
  }
}

// What is dropped is the same in each pass, and afterwards the generator stands where one pass left
// it.
BOOST_AUTO_TEST_CASE(each_pass_draws_the_same) {
  Sequential model(Linear(4, 6), BatchNorm(6), Dropout(0.5), Linear(6, 3), BatchNorm(3));
  model.initialize(3);
  const Tensor x = raw::cast(wave({8, 4}, 2, 0.7), DType::f32);
  manual_seed(4);
  std::vector<std::vector<double>> seen[2];
  accumulate_gradients(model, 2, [&](int64_t i) {
    const Tensor noise = rand({2});
    seen[i].push_back(noise.to_vector<double>());
    return sum(model(rows(x, 4 * i, 4 * i + 4)));
  });
  for (const auto& draws : seen) {
    BOOST_TEST(draws.size() == 5u);
    for (const auto& draw : draws) BOOST_TEST((draw == draws[0]));
  }
  BOOST_TEST((seen[0][0] != seen[1][0]));
}

BOOST_AUTO_TEST_CASE(what_fails_changes_nothing) {
  Sequential model(Linear(4, 3), BatchNorm(3), Linear(3, 2), BatchNorm(2));
  model.initialize(3);
  const Tensor x = raw::cast(wave({6, 4}, 2, 0.7), DType::f32);
  const auto state = [&] {
    std::vector<std::vector<double>> all;
    for (const auto& [path, tensor] : results(model)) all.push_back(tensor.to_vector<double>());
    return all;
  };
  accumulate_gradients(model, 1, [&](int64_t) { return sum(model(x)); });
  const auto before = state();
  const auto generator = default_generator().state();
  for (int at = 1; at <= 10; ++at) {
    int calls = 0;
    const auto loss_of = [&](int64_t i) {
      rand({1});
      const Tensor y = sum(model(rows(x, 3 * i, 3 * i + 3)));
      if (++calls == at) throw std::runtime_error("no data");
      return y;
    };
    // In the second pass the first norm is all that is asked for, and the forward ends before.
    try {
      accumulate_gradients(model, 2, loss_of);
      BOOST_TEST(at > 8);
      break;
    } catch (const std::runtime_error&) {
    }
    BOOST_TEST((state() == before));
    BOOST_TEST((default_generator().state() == generator));
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_one_batch_is_an_error) {
  Sequential model(Linear(4, 3), BatchNorm(3)), ghosts(BatchNorm(4, {.ghost_size = 2}));
  const Tensor x = ones({2, 4});
  const auto loss = [&](int64_t) { return sum(model(x)); };
  BOOST_CHECK_EXCEPTION(accumulate_gradients(model, 0, loss), Error, says("0 parts"));
  BOOST_CHECK_EXCEPTION(accumulate_gradients(ghosts, 1, loss), Error, says("has ghost groups"));
  BOOST_CHECK_EXCEPTION(accumulate_gradients(model, 1, [&](int64_t) { return model(x); }), Error,
                        says("part 0 is (2, 3), must be one number"));
  BOOST_CHECK_EXCEPTION(
      accumulate_gradients(model, 1, [&](int64_t) { return sum(model(rows(x, 0, 1))); }), Error,
      says("1 value a channel in all parts"));
  BOOST_CHECK_EXCEPTION(accumulate_gradients(model, 2,
                                             [&](int64_t i) {
                                               const Tensor y = sum(model(x));
                                               return i == 0 ? y : y + sum(model(x));
                                             }),
                        Error, says("part 1 runs other BatchNorms than part 0"));
  BOOST_CHECK_EXCEPTION(
      accumulate_gradients(model, 2, [&](int64_t i) { return sum(i == 0 ? model(x) : x); }), Error,
      says("part 1 runs BatchNorms 0 times, part 0 1 times"));
}

#define BOOST_TEST_MODULE tape
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/inplace.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <pthread.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <thread>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

namespace {

Tensor leaf(std::initializer_list<double> values) {
  return Tensor::of(values, DType::f64).set_requires_grad();
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_first_gradient_is_assigned_and_later_ones_are_added) {
  const Tensor x = leaf({1, 2, 3});
  for (int round = 1; round <= 3; ++round) {
    Tape tape;
    tape.backward(sum(square(x) * x));
    check_close("dx", x.grad(), {3.0 * round, 12.0 * round, 27.0 * round}, 1e-14);
  }
}

BOOST_AUTO_TEST_CASE(a_tensor_used_twice_gets_both_gradients) {
  const Tensor x = leaf({2, 5});
  Tape tape;
  const Tensor y = x * x + x;
  check_close("dx", tape.gradient(sum(y), x), {5, 11}, 1e-14);
}

// x^4: 4 x^3, 12 x^2, 24 x
BOOST_AUTO_TEST_CASE(gradients_of_gradients_are_recorded) {
  const Tensor x = leaf({1.5, -2});
  Tape tape;
  const Tensor first = tape.gradient(sum(square(square(x))), x, CreateGraph::yes);
  const Tensor second = tape.gradient(sum(first), x, CreateGraph::yes);
  const Tensor third = tape.gradient(sum(second), x);
  check_close("first", first, {13.5, -32}, 1e-13);
  check_close("second", second, {27, 48}, 1e-13);
  check_close("third", third, {36, -48}, 1e-13);
  BOOST_TEST(!x.grad());
}

// A search through all that is asked for at each node, 3e12 comparisons, would not end before
// CTest's timeout.
BOOST_AUTO_TEST_CASE(a_gradient_takes_as_long_as_it_has_nodes) {
  constexpr size_t kLeaves = 300'000, kAsked = 10'000'000;
  std::vector<Tensor> leaves, asked;
  for (size_t i = 0; i < kLeaves; ++i) leaves.push_back(leaf({1}));
  for (size_t i = 0; i < kAsked; ++i) asked.push_back(leaves[i % kLeaves]);
  Tape tape;
  Tensor y = leaves[0];
  for (const Tensor& x : leaves) y = y + x;
  const std::vector<Tensor> dx = tape.gradient(y, asked);
  BOOST_TEST(dx.size() == kAsked);
  BOOST_TEST(dx[0].item() == 2);
  BOOST_TEST(dx.back().item() == 1);
}

// Nobody asks what is behind them.
BOOST_AUTO_TEST_CASE(a_sweep_ends_at_what_it_was_asked_for) {
  static int sweeps;
  static Op op("counted", [](Backward& ctx) { ++sweeps, ctx.set(0, ctx.dy()); });
  const Tensor x = leaf({1, 2});
  Tape tape;
  const Tensor h = record(op, raw::clone(x), {x}), y = sum(square(h));
  sweeps = 0;
  check_close("dh", tape.gradient(y, h, {.keep_graph = true}), {2, 4}, 1e-15);
  BOOST_TEST(sweeps == 0);
  const auto both = tape.gradient(y, {h, x});
  check_close("dh", both[0], {2, 4}, 1e-15);
  check_close("dx", both[1], {2, 4}, 1e-15);
  BOOST_TEST(sweeps == 1);
}

// The gradient of x^3 by a sweep of its own, on the same tape.
BOOST_AUTO_TEST_CASE(a_backward_may_sweep) {
  static Op op("cube", [](Backward& ctx) {
    const Tensor x = mul(ctx.kept(0), 1);
    const Tensor total = sum(square(x) * x * ctx.dy());
    ctx.set(0, ctx.tape().gradient(total, x, CreateGraph::yes));
  });
  const Tensor x = leaf({1.5, -2});
  Tape tape;
  const Tensor y = square(x), z = record(op, y * y * y, {y}, {y});
  const Tensor first = tape.gradient(sum(z), x, CreateGraph::yes);
  check_close("6 x^5", first, {6 * std::pow(1.5, 5), -6 * 32}, 1e-14);
  check_close("30 x^4", tape.gradient(sum(first), x), {30 * std::pow(1.5, 4), 30 * 16}, 1e-14);
}

BOOST_AUTO_TEST_CASE(gradient_reaches_results_as_well_as_leaves) {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4});
  Tape tape;
  const Tensor h = x * w;
  const auto d = tape.gradient(sum(square(h)), {h, w});
  check_close("dh", d[0], {6, 16}, 1e-14);
  check_close("dw", d[1], {6, 32}, 1e-14);
}

BOOST_AUTO_TEST_CASE(where_no_path_leads_is_an_error_that_names_the_tensor) {
  Tensor x = leaf({1, 2}), other = leaf({3});
  other.set_name("fc.bias");
  Tape tape;
  const Tensor y = sum(x * 2);
  BOOST_CHECK_EXCEPTION(tape.gradient(y, other, {.keep_graph = true}), Error,
                        says("fc.bias (1,) f64"));
  const auto d = tape.gradient(y, {x, other}, {.allow_unused = true});
  check_close("dx", d[0], {2, 2}, 0);
  BOOST_TEST(!d[1]);
}

BOOST_AUTO_TEST_CASE(a_second_sweep_needs_to_be_announced) {
  const Tensor x = leaf({1, 2});
  {
    Tape tape;
    const Tensor y = sum(square(x));
    tape.backward(y);
    BOOST_CHECK_EXCEPTION(tape.backward(y), Error, says("second sweep"));
  }
  check_close("dx once", x.grad(), {2, 4}, 0);
  Tape tape;
  const Tensor y = sum(square(x));
  tape.backward(y, {.keep_graph = true});
  tape.backward(y);
  check_close("dx three times", x.grad(), {6, 12}, 0);
}

BOOST_AUTO_TEST_CASE(a_loss_of_several_elements_needs_a_gradient_to_start_from) {
  const Tensor x = leaf({1, 2});
  Tape tape;
  const Tensor y = square(x);
  BOOST_CHECK_EXCEPTION(tape.backward(y), Error, says("(2,), not one element"));
  tape.backward(y, {.dy = Tensor::of({10, 1}, DType::f64)});
  check_close("dx", x.grad(), {20, 4}, 0);
  BOOST_CHECK_EXCEPTION(tape.backward(y, {.dy = Tensor::of({1}, DType::f64)}), Error,
                        says("options.dy"));
}

BOOST_AUTO_TEST_CASE(what_was_kept_must_not_change) {
  const Tensor x = leaf({1, 2});
  Tensor factor = Tensor::of({3, 4}, DType::f64);
  Tape tape;
  const Tensor y = sum(x * factor);
  fill_(factor, 0);
  BOOST_CHECK_EXCEPTION(tape.backward(y), Error, says("mul: (2,) f64 was kept"));
  BOOST_TEST(!x.grad());
}

BOOST_AUTO_TEST_CASE(a_view_s_change_counts_as_the_base_s) {
  const Tensor x = leaf({1, 2});
  Tensor factor = Tensor::of({3, 4}, DType::f64);
  Tape tape;
  const Tensor y = sum(x * factor);
  Tensor view = slice(factor, 0, 1, 2);
  fill_(view, 0);
  BOOST_CHECK_THROW(tape.backward(y), Error);
}

BOOST_AUTO_TEST_CASE(results_of_an_earlier_or_outer_tape_are_constants) {
  const Tensor x = leaf({2}), w = leaf({5});
  Tensor state;
  {
    Tape tape;
    state = x * w;
  }
  Tape outer;
  const Tensor y = state * w;
  {
    Tape inner;
    const Tensor z = sum(y * w);
    check_close("inner dw", inner.gradient(z, w), {50}, 0);
    BOOST_CHECK_THROW(inner.gradient(z, y, {.keep_graph = true}), Error);
  }
  check_close("outer dw", outer.gradient(sum(y), w), {10}, 0);
  BOOST_CHECK_EXCEPTION(outer.backward(state), Error, says("result of another tape"));
}

BOOST_AUTO_TEST_CASE(a_nested_tape_over_the_same_weights_disturbs_nobody) {
  const Tensor w = leaf({3});
  Tape outer;
  const Tensor before = w * 2;
  {
    Tape inner;
    inner.backward(sum(square(w)));
  }
  check_close("inner", w.grad(), {6}, 0);
  const Tensor y = sum(before * w);
  check_close("outer", outer.gradient(y, w), {12}, 0);
}

BOOST_AUTO_TEST_CASE(nothing_is_recorded_without_a_tape_or_while_paused) {
  const Tensor x = leaf({1});
  BOOST_TEST((x * 2).tape() == 0u);
  Tape tape;
  {
    const NoRecord pause;
    BOOST_TEST((x * 2).tape() == 0u);
  }
  BOOST_TEST(tape.size() == 0u);
  BOOST_TEST((x * 2).tape() == tape.serial());
}

BOOST_AUTO_TEST_CASE(only_what_a_gradient_needs_is_kept) {
  const Tensor x = leaf({1, 2, 3, 4}), data = Tensor::of({1, 2, 3, 4}, DType::f64);
  Tape tape;
  const Tensor y = x * data;  // keeps data alone
  BOOST_TEST(tape.kept_bytes() == 32);
  const Tensor z = y + data;  // keeps nothing
  BOOST_TEST(tape.kept_bytes() == 32);
  tape.backward(sum(z));
  BOOST_TEST(tape.kept_bytes() == 0);
}

BOOST_AUTO_TEST_CASE(in_place_changes_of_what_a_tape_follows_are_errors) {
  Tensor x = leaf({1, 2});
  Tape tape;
  BOOST_CHECK_THROW(fill_(x, 0), Error);
  Tensor y = x * 2;
  BOOST_CHECK_THROW(fill_(y, 0), Error);
  const NoRecord pause;
  fill_(x, 0);
  BOOST_TEST(x.at({1}) == 0);
}

BOOST_AUTO_TEST_CASE(ops_of_several_outputs) {
  const Tensor x = leaf({1, 2, 3});
  Tape tape;
  const TensorList parts = unbind(x);
  const auto d = tape.gradient(parts[0] * parts[2] * 2, {x, parts[2]});
  check_close("dx", d[0], {6, 0, 2}, 0);
  check_close("dpart", d[1], {2}, 0);
}

namespace {

void* deep_tape(void*) {
  const Tensor x = ones({4}).set_requires_grad();
  Tape tape;
  Tensor y = x;
  for (int i = 0; i < 1'000'000; ++i) y = y + x;
  tape.backward(sum(y));
  return new double(x.grad().at({3}));
}

}  // namespace

// A stack of 256 KiB: nothing may recurse over the graph.
BOOST_AUTO_TEST_CASE(a_million_nodes_need_no_stack) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 << 10);
  pthread_t thread;
  BOOST_TEST_REQUIRE(pthread_create(&thread, &attributes, deep_tape, nullptr) == 0);
  void* result = nullptr;
  pthread_join(thread, &result);
  BOOST_TEST(*static_cast<double*>(result) == 1'000'001);
  delete static_cast<double*>(result);
}

BOOST_AUTO_TEST_CASE(two_threads_share_one_model) {
  const Tensor w = sample({6, 5}, 1);
  std::vector<double> expected[2];
  const auto gradient = [&](uint64_t seed) {
    const Tensor x = sample({4, 6}, seed).set_requires_grad(false);
    Tape tape;
    return tape.gradient(sum(square(tanh(matmul(x, w)))), w).to_vector<double>();
  };
  for (uint64_t i = 0; i < 2; ++i) expected[i] = gradient(i);
  bool same[2] = {true, true};
  std::thread threads[2];
  for (uint64_t i = 0; i < 2; ++i)
    threads[i] = std::thread([&, i] {
      for (int round = 0; round < 200; ++round) same[i] = same[i] && gradient(i) == expected[i];
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(same[0]);
  BOOST_TEST(same[1]);
}

BOOST_AUTO_TEST_CASE(a_tape_belongs_to_its_thread) {
  const Tensor x = leaf({1});
  Tape tape;
  const Tensor y = sum(x);
  std::string message;
  std::thread([&] {
    try {
      tape.backward(y);
    } catch (const Error& error) {
      message = error.what();
    }
  }).join();
  BOOST_TEST(message.find("another thread") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_error_on_the_way_leaves_every_gradient_as_it_was) {
  const Tensor x = leaf({1, 2}), w = leaf({1, 1});
  Tensor factor = Tensor::of({3, 4}, DType::f64);
  Tape tape;
  const Tensor y = sum(square(x * factor) + w);
  fill_(factor, 1);
  BOOST_CHECK_THROW(tape.backward(y), Error);
  BOOST_TEST(!w.grad());
  BOOST_TEST(!x.grad());
}

// A gradient that two leaves, or a leaf and the caller, have in common is copied before it is a
// .grad, which later sweeps add to in place.
BOOST_AUTO_TEST_CASE(no_two_tensors_share_a_gradient_that_is_added_to) {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4}), given = Tensor::of({1, 1}, DType::f64);
  for (CreateGraph create_graph : {CreateGraph::no, CreateGraph::yes}) {
    for (Tensor x : {a, b}) x.set_grad({});
    {
      Tape tape;
      tape.backward(a + b, {.create_graph = create_graph, .dy = given});
    }
    Tape tape;
    tape.backward(sum(a * 10.0));
    check_close("a", a.grad(), {11, 11}, 0);
    check_close("b", b.grad(), {1, 1}, 0);
    check_close("dy", given, {1, 1}, 0);
  }
}

BOOST_AUTO_TEST_CASE(a_recorded_gradient_stays_the_value_it_was_recorded_as) {
  const Tensor x = leaf({3});
  Tape tape;
  tape.backward(sum(square(x) * x), {.create_graph = CreateGraph::yes});
  const Tensor first = x.grad();
  tape.backward(sum(square(x) * x), {.keep_graph = true});
  check_close("first", first, {27}, 0);
  check_close("x.grad", x.grad(), {54}, 0);
  check_close("of the first", tape.gradient(sum(first), x), {18}, 1e-14);
}

BOOST_AUTO_TEST_CASE(data_set_since_counts_as_a_change) {
  for (const auto& data : {std::pair{"the same shape", Tensor::of({20, 30}, DType::f64)},
                           {"another", Tensor::of({20}, DType::f64)}}) {
    const Tensor x = leaf({1, 2});
    Tensor w = leaf({2, 3});
    Tape tape;
    const Tensor y = sum(w * x);
    w.set_data(data.second);
    BOOST_CHECK_EXCEPTION(tape.backward(y), Error, says("changed in place"));
    BOOST_TEST(!x.grad(), data.first);
  }
}

BOOST_AUTO_TEST_CASE(a_result_that_is_given_other_data_is_none_any_more) {
  const Tensor x = leaf({1, 2}), w = leaf({5, 5});
  Tape tape;
  Tensor h = x * 2.0;
  h.set_data(Tensor::of({7, 8}, DType::f64));
  tape.backward(sum(h * w));
  BOOST_TEST(!x.grad());
  check_close("w", w.grad(), {7, 8}, 0);
}

BOOST_AUTO_TEST_CASE(a_leaf_of_another_shape_since_leaves_every_gradient_as_it_was) {
  const Tensor a = leaf({1, 2});
  Tensor b = leaf({3, 4});
  Tape tape;
  const Tensor y = sum(a + b);
  b.set_data(Tensor::of({1, 2, 3}, DType::f64));
  BOOST_CHECK_EXCEPTION(tape.backward(y), Error, says("(3,)"));
  BOOST_TEST(!a.grad());
  BOOST_TEST(!b.grad());
}

// A sweep adds to a gradient where it lies, in as much memory as the leaf's shape has.
BOOST_AUTO_TEST_CASE(a_gradient_of_another_shape_or_dtype_since_leaves_every_gradient_as_it_was) {
  for (CreateGraph create_graph : {CreateGraph::no, CreateGraph::yes}) {
    for (const Tensor& data : {ones({1}, DType::f64), ones({3}, DType::f64),
                               ones({2, 1}, DType::f64), ones({2}, DType::f32)}) {
      const Tensor a = leaf({1, 2}), b = leaf({3, 4}).set_name("fc.bias");
      Tape tape;
      const Tensor y = sum(a * b);
      tape.backward(y, {.keep_graph = true});
      Tensor(b.grad()).set_data(data);
      BOOST_CHECK_EXCEPTION(tape.backward(y, {.create_graph = create_graph}), Error,
                            says("the gradient of leaf fc.bias (2,) f64 is " + str(data.shape())));
      check_close("a", a.grad(), {3, 4}, 0);
      BOOST_TEST(b.grad().to_vector<double>().size() == static_cast<size_t>(data.numel()));
    }
  }
}

// Asked for together with another input of the same op, as when asked for alone.
BOOST_AUTO_TEST_CASE(an_output_without_a_path_has_no_gradient) {
  const Tensor x = Tensor::of({{1, 2}, {3, 4}}, DType::f64).set_requires_grad();
  Tape tape;
  const auto parts = unbind(x);
  const auto d = tape.gradient(sum(parts[0]), {x, parts[1]}, {.allow_unused = true});
  check_close("x", d[0], {1, 1, 0, 0}, 0);
  BOOST_TEST(!d[1]);
}

#define BOOST_TEST_MODULE rnn
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/rnn.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;
using test::wave;

namespace {

constexpr CellKind kKinds[] = {CellKind::tanh, CellKind::relu, CellKind::lstm, CellKind::gru};

struct Leaves {
  explicit Leaves(CellKind kind) : rows(gates_of(kind) * 2) {
    if (kind == CellKind::lstm) c0 = wave({2, 2}, 1, 0.6).set_requires_grad();
    for (Tensor* leaf : {&x, &h0, &w_ih, &w_hh, &b_ih, &b_hh}) leaf->set_requires_grad();
  }
  CellWeights weights() const { return {w_ih, w_hh, b_ih, b_hh}; }
  std::vector<Tensor> all() const {
    if (c0) return {x, h0, c0, w_ih, w_hh, b_ih, b_hh};
    return {x, h0, w_ih, w_hh, b_ih, b_hh};
  }
  int64_t rows;
  Tensor x = wave({2, 3, 2}, 1, 1.3), h0 = wave({2, 2}, 1, 0.3), c0, w_ih = wave({rows, 2}, 1, 0.7),
         w_hh = wave({rows, 2}, 1, 1.1), b_ih = wave({rows}, 0.5, 0.9),
         b_hh = wave({rows}, 0.5, 1.7);
};

Tensor weighted(const Tensor& y, const CellState& state) {
  Tensor total = sum(y * wave(y.shape(), 1, 1.9)) + sum(state.h * wave(state.h.shape(), 1, 0.8));
  return state.c ? total + sum(state.c * wave(state.c.shape(), 1, 1.2)) : total;
}

}  // namespace

// The sweep that records itself takes another way: same gradients.
BOOST_AUTO_TEST_CASE(recorded_gradients_are_the_fused_ones) {
  for (CellKind kind : kKinds) {
    const Leaves in(kind);
    Tape tape;
    const auto [y, state] = recurrence(kind, in.x, {in.h0, in.c0}, in.weights());
    const Tensor loss = weighted(y, state);
    const auto fused = tape.gradient(loss, in.all(), {.keep_graph = true});
    const auto recorded = tape.gradient(loss, in.all(), {.create_graph = CreateGraph::yes});
    for (size_t i = 0; i < fused.size(); ++i)
      check_close("gradient", recorded[i], fused[i].to_vector<double>(), 1e-14);
  }
}

// What leads to the inputs besides stays out of the recurrence's own gradients.
BOOST_AUTO_TEST_CASE(inputs_that_depend_on_each_other) {
  const Leaves in(CellKind::lstm);
  for (CreateGraph create_graph : {CreateGraph::no, CreateGraph::yes}) {
    Tape tape;
    const Tensor w = in.w_hh * 1.5, h = in.h0 + slice(w, 0, 0, 2);
    const Tensor y =
        sum(recurrence(CellKind::lstm, in.x, {h, in.c0}, {in.w_ih, w, in.b_ih, in.b_hh}).y);
    const auto d = tape.gradient(y, {in.w_hh, w, h}, {.create_graph = create_graph});
    std::vector<double> expected = d[1].to_vector<double>();
    for (double& v : expected) v *= 1.5;
    check_close("through w", d[0], expected, 1e-14);
  }
}

BOOST_AUTO_TEST_CASE(zero_states_are_none_given) {
  for (CellKind kind : kKinds) {
    const Leaves in(kind);
    const Tensor zero = zeros({2, 2}, DType::f64), none;
    const auto given = recurrence(kind, in.x, {zero, in.c0 ? zero : none}, in.weights());
    const auto left_out = recurrence(kind, in.x, {}, in.weights());
    check_close("y", left_out.y, given.y.to_vector<double>(), 0);
    const std::vector<Tensor> leaves{in.x, in.w_ih, in.w_hh, in.b_ih, in.b_hh};
    const auto gradients = [&](const Tensor& h, const Tensor& c, CreateGraph create_graph) {
      Tape tape;
      const auto [y, state] = recurrence(kind, in.x, {h, c}, in.weights());
      return tape.gradient(weighted(y, state), leaves, {.create_graph = create_graph});
    };
    const auto expected = gradients(zero, in.c0 ? zero : none, CreateGraph::no);
    for (CreateGraph create_graph : {CreateGraph::no, CreateGraph::yes}) {
      const auto d = gradients(none, none, create_graph);
      for (size_t i = 0; i < d.size(); ++i)
        check_close("gradient", d[i], expected[i].to_vector<double>(), 1e-14);
    }
  }
}

// A step in plain ops: an empty state stands for zeros; nothing broadcasts, no column is dropped.
BOOST_AUTO_TEST_CASE(cell_step_wants_whole_shapes) {
  for (CellKind kind : kKinds) {
    const bool lstm = kind == CellKind::lstm;
    const int64_t gates = gates_of(kind), rows = gates * 3;
    const Tensor a = wave({2, rows}, 1, 1.3), u = wave({2, rows}, 1, 0.7), none,
                 zero = zeros({2, 3}, DType::f64), c = lstm ? zero : none;
    const CellState given = cell_step(kind, a, u, {zero, c});
    for (const CellState& first : {CellState(), CellState(zero), CellState(none, c)}) {
      const CellState next = cell_step(kind, a, u, first);
      check_close("h", next.h, given.h.to_vector<double>(), 0);
      if (lstm) check_close("c", next.c, given.c.to_vector<double>(), 0);
    }
    const auto refused = [&](const Tensor& a_, const Tensor& u_, const CellState& state,
                             const char* text) {
      BOOST_CHECK_EXCEPTION(cell_step(kind, a_, u_, state), Error, says(text));
    };
    const auto wide = [](const Shape& shape) { return ones(shape, DType::f64); };
    const std::string both = fmt::format("both must be (N, {} H)", gates);
    refused(wide({2, rows + 1}), wide({2, rows}), {}, both.c_str());
    refused(wide({1, rows}), wide({2, rows}), {}, both.c_str());
    refused(wide({4, 2, rows}), wide({4, 2, rows}), {}, both.c_str());
    refused(wide({}), wide({}), {}, both.c_str());
    if (gates > 1)
      refused(wide({2, rows + gates - 1}), wide({2, rows + gates - 1}), {}, both.c_str());
    for (const Shape& shape : {Shape{4, 2, 3}, Shape{1, 3}, Shape{2, 1}, Shape{3}, Shape{}}) {
      refused(a, u, {wide(shape), c}, "cell_step: the state is");
      if (lstm) refused(a, u, {zero, wide(shape)}, "cell_step: the state is");
    }
    if (!lstm) refused(a, u, {zero, zero}, "which only an LSTM has");
    if (lstm) refused(a, u, {none, wide({2, 3, 1})}, "cell_step: the state is");
  }
}

BOOST_AUTO_TEST_CASE(strided_inputs_are_their_copies) {
  for (CellKind kind : kKinds) {
    const Leaves in(kind);
    const Tensor steps_first = raw::contiguous(transpose(in.x, 0, 1)).set_requires_grad(),
                 features_first = raw::contiguous(transpose(in.x, 1, 2)).set_requires_grad();
    const auto gradients = [&](const Tensor& leaf, int64_t a, int64_t b) {
      Tape tape;
      const Tensor x = transpose(leaf, a, b);
      const auto [y, state] = recurrence(kind, x, {in.h0, in.c0}, in.weights());
      return tape.gradient(weighted(y, state), {x, in.w_ih});
    };
    Tape tape;
    const auto [y, state] = recurrence(kind, in.x, {in.h0, in.c0}, in.weights());
    const auto d = tape.gradient(weighted(y, state), {in.x, in.w_ih});
    for (const auto& other : {gradients(steps_first, 0, 1), gradients(features_first, 1, 2)})
      for (size_t i = 0; i < 2; ++i)
        check_close("gradient", other[i], d[i].to_vector<double>(), 1e-15);
  }
}

BOOST_AUTO_TEST_CASE(a_changed_output_is_noticed) {
  const Leaves in(CellKind::gru);
  Tape tape;
  auto [y, state] = recurrence(CellKind::gru, in.x, {in.h0, {}}, in.weights());
  const Tensor loss = sum(y);
  raw::fill(state.h, 0);
  BOOST_CHECK_EXCEPTION(tape.backward(loss), Error, says("gru"));
}

BOOST_AUTO_TEST_CASE(bad_inputs) {
  const Leaves in(CellKind::lstm);
  const Tensor none, wrong = zeros({3, 2}, DType::f64);
  const auto fails = [&](const char* text, const Tensor& x, const CellState& state,
                         const CellWeights& weights, const Tensor& valid = {}) {
    BOOST_CHECK_EXCEPTION(recurrence(CellKind::lstm, x, state, weights, valid), Error, says(text));
  };
  fails("x is (2,)", zeros({2}, DType::f64), {}, in.weights());
  fails("w_ih is (8, 2), must be (8, 5)", zeros({2, 3, 5}, DType::f64), {}, in.weights());
  fails("w_hh is (3, 2), must be (8, 2)", in.x, {}, {in.w_ih, wrong, in.b_ih, in.b_hh});
  fails("b_hh is (3, 2), must be (8,)", in.x, {}, {in.w_ih, in.w_hh, in.b_ih, wrong});
  fails("the state c is (3, 2), must be (2, 2)", in.x, {in.h0, wrong}, in.weights());
  fails("must be (2, 3, 8)", in.x, {}, {none, in.w_hh, in.b_ih, in.b_hh});
  fails("dtypes f64 and f32", in.x, {zeros({2, 2}), {}}, in.weights());
  fails("the mask is bool (2, 2)", in.x, {}, in.weights(),
        raw::cast(zeros({2, 2}), DType::boolean));
  const Leaves gru(CellKind::gru);
  BOOST_CHECK_EXCEPTION(recurrence(CellKind::gru, gru.x, {gru.h0, gru.h0}, gru.weights()), Error,
                        says("gru: the state c"));
}

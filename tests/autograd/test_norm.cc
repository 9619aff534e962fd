#define BOOST_TEST_MODULE norm
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>

#include <functional>
#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

namespace {

constexpr double kEps = 1e-5, kNan = std::numeric_limits<double>::quiet_NaN();

/// One norm of x (shape), as a fused op and in stages.
struct Case {
  std::string what;
  Shape x, weights;
  bool affine;
  Tensor valid;
  std::function<Tensor(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& valid)>
      fused;
  std::function<NormGroups(const Tensor& x, const Tensor& valid)> groups;
};

Tensor bools(const Shape& shape, std::vector<int64_t> values) {
  return raw::cast(Tensor::from(values, shape), DType::boolean);
}

Case layer_case(const Shape& x, const Shape& weights, bool affine, Tensor valid = {}) {
  return {"layer_norm " + str(x) + (valid ? " masked" : ""),
          x,
          weights,
          affine,
          valid,
          [=](const Tensor& v, const Tensor& w, const Tensor& b, const Tensor& m) {
            return layer_norm(v, weights, w, b, {.valid = m});
          },
          [=](const Tensor& v, const Tensor& m) { return layer_norm_groups(v, weights, m); }};
}

Case batch_case(const Shape& x, ChannelAxis axis, bool affine, Tensor valid = {}) {
  return {"batch_norm " + str(x) + (valid ? " masked" : ""),
          x,
          {axis == ChannelAxis::last ? x.back() : x[1]},
          affine,
          valid,
          [=](const Tensor& v, const Tensor& w, const Tensor& b, const Tensor& m) {
            return batch_norm(v, w, b, {.eps = kEps, .axis = axis, .valid = m}).y;
          },
          [=](const Tensor& v, const Tensor& m) { return batch_norm_groups(v, axis, m); }};
}

Case group_case(const Shape& x, int64_t groups, bool affine, Tensor valid = {}) {
  return {"group_norm " + str(x) + (valid ? " masked" : ""),
          x,
          {x[1]},
          affine,
          valid,
          [=](const Tensor& v, const Tensor& w, const Tensor& b, const Tensor& m) {
            return group_norm(v, groups, w, b, {.eps = kEps, .valid = m});
          },
          [=](const Tensor& v, const Tensor& m) { return group_norm_groups(v, groups, m); }};
}

std::vector<Case> cases() {
  return {group_case({3, 6, 2, 2}, 2, true),
          group_case({2, 4, 5}, 4, true),
          group_case({5, 6}, 3, false),
          group_case({4, 4, 3}, 1, true, bools({4}, {1, 0, 1, 1})),
          layer_case({5, 7}, {7}, true),
          layer_case({3, 4, 5}, {5}, false),
          layer_case({3, 2, 4, 3}, {4, 3}, true),
          layer_case({4, 3, 9}, {9}, true, bools({4, 3}, {1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1})),
          batch_case({5, 3}, ChannelAxis::second, true),
          batch_case({4, 3, 5}, ChannelAxis::second, false),
          batch_case({3, 4, 2, 5}, ChannelAxis::second, true),
          batch_case({3, 5, 4}, ChannelAxis::last, true),
          batch_case({6, 3}, ChannelAxis::second, true, bools({6}, {1, 0, 1, 1, 0, 1})),
          batch_case({3, 2, 4}, ChannelAxis::second, true,
                     bools({3, 4}, {1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1})),
          batch_case({3, 4, 5}, ChannelAxis::last, true,
                     bools({3, 4}, {1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0}))};
}

/// `valid` over all of x's elements.
Tensor everywhere(const Case& c) {
  const NormGroups groups = c.groups(zeros(c.x, DType::f64), c.valid);
  return groups.valid ? raw::reshape(raw::clone(raw::expand(groups.valid, groups.shape)), c.x)
                      : full(c.x, 1, DType::boolean);
}

struct Inputs {
  Tensor x, w, b, dy;
};

/// Leaves, and dy; with NaN in x and dy where positions are not valid.
Inputs inputs_of(const Case& c) {
  Inputs in;
  const Tensor nan = full({}, kNan, DType::f64), valid = everywhere(c);
  in.x = where(valid, sample(c.x, 1), nan).set_requires_grad();
  in.dy = where(valid, sample(c.x, 4), nan);
  if (c.affine) {
    in.w = sample(c.weights, 2, 0.5, 2);
    in.b = sample(c.weights, 3);
  }
  return in;
}

std::vector<Tensor> leaves(const Inputs& in) {
  return in.w ? std::vector{in.x, in.w, in.b} : std::vector{in.x};
}

void check_same(const std::string& what, const Tensor& a, const Tensor& b,
                double tolerance = 1e-12) {
  check_close(what, a, b.to_vector<double>(), tolerance);
}

}  // namespace

BOOST_AUTO_TEST_CASE(fused_is_staged_node_by_node) {
  for (const Case& c : cases()) {
    const Inputs in = inputs_of(c);
    const NormGroups groups = c.groups(in.x, c.valid);
    const NormForward f = norm_forward(groups, in.x, in.w, in.b, kEps);
    const NormBackward b = norm_backward(groups, f, in.w, in.dy);
    Tape tape;
    const Tensor y = c.fused(in.x, in.w, in.b, c.valid);
    const auto d = tape.gradient(y, leaves(in), {.dy = in.dy});
    check_same(c.what + ": y", y, f.y);
    check_same(c.what + ": dx", d[0], b.dx);
    const Tensor terms = b.direct - b.mean_term - b.variance_term;
    check_same(c.what + ": terms", reshape(clear_invalid(groups, terms), c.x), b.dx, 1e-15);
    if (!in.w) continue;
    check_same(c.what + ": dweight", d[1], b.dweight);
    check_same(c.what + ": dbias", d[2], b.dbias);
  }
}

// The tape's own derivative of the stages, which knows none of the formulas, to second order.
BOOST_AUTO_TEST_CASE(fused_is_the_derivative_of_the_definition) {
  for (const Case& c : cases()) {
    const Inputs in = inputs_of(c);
    const Tensor u = sample(c.x, 5).set_requires_grad(false);
    const auto derivatives = [&](const std::function<Tensor()>& forward) {
      Tape tape;
      const Tensor dy = raw::clone(in.dy).set_requires_grad();
      auto all = leaves(in);
      const auto first =
          tape.gradient(forward(), all, {.create_graph = CreateGraph::yes, .dy = dy});
      Tensor scalar = sum(first[0] * u);
      for (size_t i = 1; i < first.size(); ++i) scalar = scalar + sum(square(first[i]));
      const std::vector<Tensor> wanted = in.w ? std::vector{in.x, in.w, dy} : std::vector{in.x, dy};
      auto second = tape.gradient(scalar, wanted);
      second.insert(second.end(), first.begin(), first.end());
      return second;
    };
    const auto fused = derivatives([&] { return c.fused(in.x, in.w, in.b, c.valid); });
    const auto staged = derivatives(
        [&] { return norm_forward(c.groups(in.x, c.valid), in.x, in.w, in.b, kEps).y; });
    for (size_t i = 0; i < fused.size(); ++i)
      check_same(c.what + ": derivative " + std::to_string(i), fused[i], staged[i], 1e-11);
  }
}

// With NaN in all that is not valid: the same as with the valid positions alone, and 0 elsewhere.
BOOST_AUTO_TEST_CASE(padding_has_no_influence) {
  for (const Case& c : cases()) {
    if (!c.valid) continue;
    const Inputs in = inputs_of(c);
    // (N, C, L) as (N, L, C), so that what a mask leaves are rows.
    const bool turn = c.x.ndim() == 3 && c.valid.ndim() == 2 && c.valid.size(1) != c.x[1];
    const auto rows_of = [&](const Tensor& t) {
      if (c.valid.ndim() == 1) return t;  // samples
      return reshape(turn ? transpose(t) : t, {-1, turn ? c.x[1] : c.x.back()});
    };
    const auto alone = [&](const Tensor& t) {
      const Tensor rows = rows_of(t);
      const auto use = c.valid.to_vector<bool>();
      std::vector<Tensor> kept;
      for (size_t i = 0; i < use.size(); ++i)
        if (use[i]) kept.push_back(select(rows, 0, static_cast<int64_t>(i)));
      return stack(kept);
    };
    const auto check_part = [&](const std::string& what, const Tensor& t, const Tensor& expected) {
      check_same(c.what + what, alone(t), expected);
      const Tensor rest = where(everywhere(c), zeros({}, DType::f64), t);
      for (double v : rest.to_vector<double>()) BOOST_TEST(v == 0, c.what + what);
    };
    Tensor x_alone = raw::clone(alone(in.x)).set_requires_grad();
    Tape tape;
    const Tensor y = c.fused(in.x, in.w, in.b, c.valid), y_alone = c.fused(x_alone, in.w, in.b, {});
    const auto d = tape.gradient(y, {in.x, in.w, in.b}, {.dy = in.dy});
    const auto d_alone = tape.gradient(y_alone, {x_alone, in.w, in.b}, {.dy = alone(in.dy)});
    check_part(": y", y, y_alone);
    check_part(": dx", d[0], d_alone[0]);
    check_same(c.what + ": dweight", d[1], d_alone[1]);
    check_same(c.what + ": dbias", d[2], d_alone[2]);
  }
}

// A row that is masked has variance 0, and eps may be 0 as well.
BOOST_AUTO_TEST_CASE(padding_without_eps) {
  const Tensor x = sample({3, 4}, 1), w = sample({4}, 2, 0.5, 2), dy = sample({3, 4}, 4);
  const std::function<Tensor(const Tensor&, const Tensor&)> norms[] = {
      [&](const Tensor& v, const Tensor& valid) {
        return layer_norm(v, {4}, w, {}, {.eps = 0, .valid = valid});
      },
      [&](const Tensor& v, const Tensor& valid) {
        return group_norm(v, 2, w, {}, {.eps = 0, .valid = valid});
      }};
  for (const auto& norm : norms) {
    const auto second = [&](const Tensor& v, const Tensor& upstream, const Tensor& valid) {
      Tape tape;
      const auto d =
          tape.gradient(norm(v, valid), {v, w}, {.create_graph = CreateGraph::yes, .dy = upstream});
      return tape.gradient(sum(square(d[0])) + sum(square(d[1])), {v, w});
    };
    const auto alone = [](const Tensor& t) {
      return concat({slice(t, 0, 0, 1), slice(t, 0, 2, 3)});
    };
    const auto masked = second(x, dy, bools({3}, {1, 0, 1}));
    const auto expected = second(alone(x).set_requires_grad(), alone(dy), {});
    check_same("ddx", alone(masked[0]), expected[0]);
    check_close("ddx where padded", select(masked[0], 0, 1), {0, 0, 0, 0}, 0);
    check_same("ddw", masked[1], expected[1]);
  }
}

BOOST_AUTO_TEST_CASE(statistics_are_of_the_valid_alone) {
  const Tensor x = Tensor::from(std::vector<double>{1, 9, kNan, kNan, 4, 3, 7, kNan}, {4, 2});
  const Tensor valid = bools({4}, {1, 0, 1, 1});
  const BatchNormResult r = batch_norm(x, {}, {}, {.valid = valid});
  BOOST_TEST(r.mean.at({0}) == 4);
  BOOST_TEST(std::isnan(r.mean.at({1})));  // a valid NaN is not hidden
  const Tensor clean = Tensor::from(std::vector<double>{1, 9, kNan, kNan, 4, 3, 7, 6}, {4, 2});
  const BatchNormResult s = batch_norm(clean, {}, {}, {.valid = valid});
  BOOST_TEST(s.count == 3);
  check_close("mean", s.mean, {4, 6}, 1e-15);
  check_close("var", s.var, {6, 6}, 1e-15);
}

BOOST_AUTO_TEST_CASE(an_activation_is_the_op_of_its_own) {
  using Norm = std::function<TensorList(const Tensor& x, const Tensor& w, const Tensor& b,
                                        const Tensor& valid, Activation activation)>;
  struct Given {
    const char* what;
    Shape x, weights;
    Shape masked;  // all but the first position; no axes: no mask
    Norm norm;
  };
  const auto batch = [](ChannelAxis axis) -> Norm {
    return [=](auto& x, auto& w, auto& b, auto& valid, Activation activation) {
      const BatchNormResult r =
          batch_norm(x, w, b, {.axis = axis, .valid = valid, .activation = activation});
      return TensorList{r.y, r.mean, r.var};
    };
  };
  const Norm layer = [](auto& x, auto& w, auto& b, auto& valid, Activation activation) {
    return TensorList{layer_norm(x, w.shape(), w, b, {.valid = valid, .activation = activation})};
  };
  const Norm group = [](auto& x, auto& w, auto& b, auto& valid, Activation activation) {
    return TensorList{group_norm(x, 2, w, b, {.valid = valid, .activation = activation})};
  };
  const Norm inference = [](auto& x, auto& w, auto& b, auto& valid, Activation activation) {
    const Tensor mean = raw::cast(sample(w.shape(), 5), x.dtype()),
                 var = raw::cast(sample(w.shape(), 6, 0.5, 2), x.dtype());
    return TensorList{
        batch_norm_inference(x, mean, var, w, b, {.valid = valid, .activation = activation})};
  };
  const ChannelAxis second = ChannelAxis::second, last = ChannelAxis::last;
  const Given all[] = {{"batch_norm", {5, 3}, {3}, {}, batch(second)},
                       {"batch_norm", {300, 70}, {70}, {}, batch(second)},
                       {"batch_norm", {3, 4, 5, 7}, {4}, {}, batch(second)},
                       {"batch_norm", {3, 4, 6}, {4}, {3, 6}, batch(second)},
                       {"batch_norm", {3, 5, 40}, {40}, {3, 5}, batch(last)},
                       {"layer_norm", {5, 3}, {3}, {}, layer},
                       {"layer_norm", {300, 70}, {70}, {}, layer},
                       {"layer_norm", {3, 4, 5, 7}, {4, 5, 7}, {}, layer},
                       {"layer_norm", {3, 5, 40}, {40}, {3, 5}, layer},
                       {"group_norm", {5, 6}, {6}, {}, group},
                       {"group_norm", {300, 70}, {70}, {}, group},
                       {"group_norm", {3, 4, 5, 7}, {4}, {}, group},
                       {"group_norm", {3, 4, 40}, {4}, {3}, group},
                       {"batch_norm_inference", {5, 3}, {3}, {}, inference},
                       {"batch_norm_inference", {3, 4, 6}, {4}, {3, 6}, inference}};
  // The norm's results, gradients, and gradients of the gradients' sum of squares
  const auto run = [](bool fused, const Given& g, DType dtype, CreateGraph create_graph) {
    const auto leaf = [&](const Shape& shape, uint64_t seed) {
      return raw::cast(sample(shape, seed), dtype).set_requires_grad();
    };
    const Tensor x = leaf(g.x, 1), w = leaf(g.weights, 2), b = leaf(g.weights, 3);
    const Tensor dy = leaf(g.x, 4).set_requires_grad(false);
    Tensor valid;
    if (g.masked.ndim() > 0) {
      valid = full(g.masked, 1, DType::boolean);
      valid.mutable_data<bool>()[0] = false;
    }
    Tape tape;
    TensorList results = g.norm(x, w, b, valid, fused ? Activation::relu : Activation::none);
    if (!fused) results[0] = relu(results[0]);
    const auto first =
        tape.gradient(results[0], {x, w, b}, {.create_graph = create_graph, .dy = dy});
    results.insert(results.end(), first.begin(), first.end());
    if (create_graph == CreateGraph::yes) {
      const Tensor squares = sum(square(first[0])) + sum(square(first[1])) + sum(square(first[2]));
      for (const Tensor& t : tape.gradient(squares, {x, w})) results.push_back(t);
    }
    return results;
  };
  for (const Given& g : all)
    for (DType dtype : {DType::f32, DType::f64})
      for (CreateGraph create_graph : {CreateGraph::no, CreateGraph::yes}) {
        const TensorList one = run(true, g, dtype, create_graph);
        const TensorList two = run(false, g, dtype, create_graph);
        for (size_t i = 0; i < two.size(); ++i)
          BOOST_TEST(one[i].to_vector<double>() == two[i].to_vector<double>(),
                     fmt::format("{} {} {} result {}", g.what, g.x, name(dtype), i));
      }
}

// The kernel writes what of dy passes where dx goes, wanted or not.
BOOST_AUTO_TEST_CASE(layer_norm_with_an_activation_and_a_constant_x) {
  const Tensor x = sample({4, 5}, 1), fixed = raw::clone(x), w = sample({5}, 2), b = sample({5}, 3),
               dy = sample({4, 5}, 4);
  const auto gradients = [&](const Tensor& v, const TensorList& wanted) {
    Tape tape;
    const Tensor y = layer_norm(v, {5}, w, b, {.activation = Activation::relu});
    return tape.gradient(y, wanted, {.dy = dy});
  };
  const auto with_x = gradients(x, {x, w, b}), without = gradients(fixed, {w, b});
  for (size_t i = 0; i < 2; ++i) check_same("dw, db", without[i], with_x[i + 1], 0);
}

// E[x^2] - mean^2 would have nothing left of the variance here. x itself has steps of 2^-10, so the
// f32 mean may be half of one off.
BOOST_AUTO_TEST_CASE(a_mean_far_from_zero) {
  const int64_t n = 517;
  const Tensor x = add(raw::cast(sample({n, 3}, 1), DType::f32), 1e4);
  const BatchNormResult r = batch_norm(x);
  const Tensor rows = raw::clone(transpose(x)), y = layer_norm(rows, {n});
  for (int64_t c = 0; c < 3; ++c) {
    long double mean = 0, var = 0;
    for (int64_t i = 0; i < n; ++i) mean += static_cast<long double>(x.at({i, c})) / n;
    for (int64_t i = 0; i < n; ++i) {
      const long double v = x.at({i, c}) - mean;
      var += v * v / n;
    }
    const long double half_step = 0x1p-11L;
    BOOST_TEST(std::abs(r.mean.at({c}) - mean) <= half_step);
    BOOST_TEST(std::abs(r.var.at({c}) / var - 1) < 1e-6L);
    const long double rstd = 1 / std::sqrt(var + kEps);
    for (int64_t i = 0; i < n; ++i) {
      const long double expected = (x.at({i, c}) - mean) * rstd;
      BOOST_TEST(std::abs(r.y.at({i, c}) - expected) <= half_step * rstd + 1e-6L);
      BOOST_TEST(std::abs(y.at({c, i}) - expected) <= half_step * rstd + 1e-6L);
    }
  }
}

// dx sums to 0 over a group, and <dx, x^> = r mean(g x^) n eps / (var + eps), which a large eps
// makes visible: a wrong count (N - 1 for N) or a missing term breaks one or the other.
BOOST_AUTO_TEST_CASE(dx_against_ones_and_xhat) {
  const double eps = 0.3;
  const Tensor x = sample({5, 4, 3}, 1), w = sample({4}, 2, 0.5, 2), dy = sample({5, 4, 3}, 4);
  const Tensor wl = sample({4, 3}, 3, 0.5, 2);
  const auto check_groups = [&](const NormGroups& groups, const Tensor& weight, const Tensor& dx) {
    const NormForward f = norm_forward(groups, x, weight, {}, eps);
    const NormBackward b = norm_backward(groups, f, weight, dy);
    const Tensor d = reshape(dx, groups.shape);
    for (double total : sum(d, groups.axes).to_vector<double>())
      BOOST_TEST(std::abs(total) < 1e-13);
    const Tensor expected = f.rstd * b.mean_g_xhat * (groups.count * eps) / (f.variance + eps);
    check_same("<dx, xhat>", sum(d * f.xhat, groups.axes, true), expected, 1e-13);
  };
  Tape tape;
  check_groups(batch_norm_groups(x), w,
               tape.gradient(batch_norm(x, w, {}, {.eps = eps}).y, x, {.dy = dy}));
  check_groups(layer_norm_groups(x, {4, 3}), wl,
               tape.gradient(layer_norm(x, {4, 3}, wl, {}, {.eps = eps}), x, {.dy = dy}));
}

// BN(h v) does not change with the length of v's columns, so the gradient is orthogonal to them.
BOOST_AUTO_TEST_CASE(weights_before_a_batch_norm) {
  const Tensor h = sample({7, 3}, 1).set_requires_grad(false), v = sample({4, 3}, 2);
  Tape tape;
  const Tensor y = batch_norm(linear(h, v), {}, {}, {.eps = 1e-30}).y;
  const Tensor dv = tape.gradient(sum(square(y) * sample({7, 4}, 3)), v);
  for (double product : sum(v * dv, {1}).to_vector<double>()) BOOST_TEST(std::abs(product) < 1e-12);
  BOOST_TEST(max(abs(dv)).item() > 0.1);
}

// Statistics of two half batches, put together, with the gradient going through them, are those of
// the whole batch.
BOOST_AUTO_TEST_CASE(statistics_of_several_batches) {
  const Tensor x = sample({7, 3}, 1), w = sample({3}, 2, 0.5, 2), b = sample({3}, 3),
               dy = sample({7, 3}, 4);
  Tape tape;
  const Tensor whole = batch_norm(x, w, b).y;
  const auto expected = tape.gradient(whole, {x, w, b}, {.dy = dy});
  const Tensor parts[] = {slice(x, 0, 0, 3), slice(x, 0, 3, 7)};
  Tensor total, squares;
  for (const Tensor& part : parts) {
    const NormGroups groups = batch_norm_groups(part);
    const Tensor s = mul(group_mean(groups, reshape(part, groups.shape)), groups.count);
    total = total ? total + s : s;
  }
  const Tensor mean = mul(total, 1.0 / 7);
  for (const Tensor& part : parts) {
    const NormGroups groups = batch_norm_groups(part);
    const Tensor s =
        mul(group_mean(groups, square(reshape(part, groups.shape) - mean)), groups.count);
    squares = squares ? squares + s : s;
  }
  const Tensor variance = mul(squares, 1.0 / 7);
  std::vector<Tensor> ys;
  for (const Tensor& part : parts)
    ys.push_back(normalize_with(batch_norm_groups(part), part, mean, variance, w, b, kEps).y);
  const Tensor y = concat(ys);
  check_same("y", y, whole);
  const auto d = tape.gradient(y, {x, w, b}, {.dy = dy});
  for (size_t i = 0; i < 3; ++i) check_same("gradient", d[i], expected[i]);
}

BOOST_AUTO_TEST_CASE(evaluation_uses_the_statistics_it_was_given) {
  const Tensor x = sample({4, 3, 2}, 1), w = sample({3}, 2, 0.5, 2), b = sample({3}, 3),
               dy = sample({4, 3, 2}, 4).set_requires_grad(false);
  Tensor mean = Tensor::of({0.5, -1, 2}, DType::f64), var = Tensor::of({0.25, 3, 1}, DType::f64);
  Tape tape;
  const Tensor y = batch_norm_inference(x, mean, var, w, b);
  raw::fill(mean, 100);  // running statistics that go on changing
  raw::fill(var, 100);
  const auto d = tape.gradient(y, {x, w, b}, {.dy = dy});
  const double means[] = {0.5, -1, 2}, vars[] = {0.25, 3, 1};
  std::vector<double> values, dx, dw(3), db(3);
  for (int64_t n = 0; n < 4; ++n)
    for (int64_t c = 0; c < 3; ++c)
      for (int64_t i = 0; i < 2; ++i) {
        const double r = 1 / std::sqrt(vars[c] + kEps), g = dy.at({n, c, i}),
                     xhat = (x.at({n, c, i}) - means[c]) * r;
        values.push_back(xhat * w.at({c}) + b.at({c}));
        dx.push_back(g * w.at({c}) * r);
        dw[static_cast<size_t>(c)] += g * xhat;
        db[static_cast<size_t>(c)] += g;
      }
  check_close("y", y, values, 1e-14);
  check_close("dx", d[0], dx, 1e-14);
  check_close("dw", d[1], dw, 1e-14);
  check_close("db", d[2], db, 1e-14);
}

BOOST_AUTO_TEST_CASE(evaluation_with_padding) {
  const Tensor valid = bools({2, 3}, {1, 1, 0, 1, 0, 0}), wide = raw::reshape(valid, {2, 3, 1});
  const Tensor nan = full({}, kNan, DType::f64), w = sample({2}, 2, 0.5, 2), b = sample({2}, 3);
  const Tensor mean = Tensor::of({0.5, -1}, DType::f64), var = Tensor::of({0.25, 3}, DType::f64);
  Tensor x = where(wide, sample({2, 3, 2}, 1), nan).set_requires_grad();
  Tensor dy = where(wide, sample({2, 3, 2}, 4), nan).set_requires_grad();
  for (CreateGraph graph : {CreateGraph::no, CreateGraph::yes}) {
    Tape tape;
    const Tensor y =
        batch_norm_inference(x, mean, var, w, b, {.axis = ChannelAxis::last, .valid = valid});
    const auto d = tape.gradient(y, {x, w, b}, {.create_graph = graph, .dy = dy});
    for (const Tensor& t : {y, d[0]})
      for (int64_t n = 0; n < 2; ++n)
        for (int64_t i = 0; i < 3; ++i)
          for (int64_t c = 0; c < 2; ++c) {
            const bool there = n == 0 ? i < 2 : i < 1;
            BOOST_TEST((there ? std::isfinite(t.at({n, i, c})) : t.at({n, i, c}) == 0));
          }
    const double total = dy.at({0, 0, 0}) + dy.at({0, 1, 0}) + dy.at({1, 0, 0});
    BOOST_TEST(d[2].at({0}) == total, boost::test_tools::tolerance(1e-14));
    BOOST_TEST(std::isfinite(d[1].at({0})));
  }
}

// As in PyTorch; gradients are sums of nothing.
BOOST_AUTO_TEST_CASE(groups_without_values_are_empty) {
  const auto leaf = [](const Shape& shape) { return ones(shape).set_requires_grad(); };
  for (const Shape& shape : {Shape{2, 4, 0}, Shape{0, 4, 0}, Shape{0, 4, 3}, Shape{2, 4, 0, 3}})
    for (const int64_t groups : {1, 2, 4})
      for (const CreateGraph graph : {CreateGraph::no, CreateGraph::yes}) {
        const Tensor x = leaf(shape), w = leaf({4}), b = leaf({4});
        Tape tape;
        const Tensor y = group_norm(x, groups, w, b);
        BOOST_TEST((y.shape() == shape));
        const auto d = tape.gradient(sum(y), {x, w, b}, {.create_graph = graph});
        BOOST_TEST((d[0].shape() == shape));
        for (const size_t i : {1, 2}) check_close("dw, db", d[i], {0, 0, 0, 0}, 0);
        BOOST_TEST((group_norm(x, groups).shape() == shape));
      }
  const Tensor x = leaf({2, 0}), w = leaf({0});
  Tape tape;
  for (const Tensor& y :
       {layer_norm(x, {0}, w, w), layer_norm(x, {0}), rms_norm(x, {0}, w), rms_norm(x, {0})}) {
    BOOST_TEST((y.shape() == Shape{2, 0}));
    BOOST_TEST((tape.gradient(sum(y), x).shape() == Shape{2, 0}));
  }
  BOOST_CHECK_EXCEPTION(group_norm(ones({2, 4}), 4), Error, says("have 1 value each"));
}

BOOST_AUTO_TEST_CASE(empty_batches) {
  const Tensor x = sample({0, 3}, 1), mean = zeros({3}, DType::f64), var = ones({3}, DType::f64);
  for (CreateGraph graph : {CreateGraph::no, CreateGraph::yes}) {
    Tape tape;
    const Tensor w = sample({3}, 2), y = batch_norm_inference(x, mean, var, w);
    check_close("dw", tape.gradient(y, w, {.create_graph = graph, .dy = ones_like(y)}), {0, 0, 0},
                0);
    const Tensor z = layer_norm(x, {3}, w);
    check_close("dw", tape.gradient(z, w, {.create_graph = graph, .dy = ones_like(z)}), {0, 0, 0},
                0);
  }
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({3, 4, 5});
  BOOST_CHECK_EXCEPTION(
      batch_norm(zeros({1, 4})), Error,
      says("x (1, 4) has 1 value a channel, so training statistics do not exist; "
           "use a larger batch, drop the last partial one, eval() with running statistics, "
           "or LayerNorm"));
  BOOST_CHECK_EXCEPTION(batch_norm(zeros({0, 4})), Error, says("x (0, 4) has no values"));
  const Tensor none = zeros({3, 5}, DType::boolean);
  BOOST_CHECK_EXCEPTION(batch_norm(x, {}, {}, {.valid = none}), Error,
                        says("the mask (3, 5) leaves no position of x (3, 4, 5)"));
  Tensor one = raw::clone(none);
  one.mutable_data<bool>()[7] = true;
  BOOST_CHECK_EXCEPTION(batch_norm(x, {}, {}, {.valid = one}), Error,
                        says("has 1 value a channel"));
  BOOST_CHECK_EXCEPTION(batch_norm(x, {}, {}, {.axis = ChannelAxis::last, .valid = none}), Error,
                        says("the mask is bool (3, 5), must be bool (3, 4) for x (3, 4, 5)"));
  BOOST_CHECK_EXCEPTION(batch_norm(x, {}, {}, {.valid = zeros({3, 5})}), Error,
                        says("the mask is f32 (3, 5), must be bool (3, 5)"));
  BOOST_CHECK_EXCEPTION(batch_norm(x, zeros({5})), Error,
                        says("batch_norm: weight is (5,), must be (4,) for x (3, 4, 5)"));
  BOOST_CHECK_EXCEPTION(batch_norm(zeros({4})), Error, says("needs at least two dimensions"));
  BOOST_CHECK_EXCEPTION(batch_norm_inference(x, zeros({4}), zeros({5})), Error,
                        says("batch_norm_inference: var is (5,), must be (4,)"));
  BOOST_CHECK_EXCEPTION(layer_norm(x, {4}), Error,
                        says("x (3, 4, 5) does not end in the normalized shape (4,)"));
  BOOST_CHECK_EXCEPTION(layer_norm(x, {5}, {}, zeros({4})), Error,
                        says("layer_norm: bias is (4,), must be (5,) for x (3, 4, 5)"));
  BOOST_CHECK_EXCEPTION(layer_norm(x, {5}, zeros({5}, DType::f64)), Error,
                        says("dtypes f32 and f64 do not mix"));
  BOOST_CHECK_EXCEPTION(layer_norm(zeros({3, 5}, DType::i64), {5}), Error,
                        says("needs f32 or f64"));
}

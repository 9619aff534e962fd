#define BOOST_TEST_MODULE gradcheck
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/tensor/random.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/checks.h"
#include "tests/gradcheck/spoiled.h"

using namespace gradus;
using test::says;
using test::Spoiled;

namespace {

Tensor normal(const Shape& shape, uint64_t seed, const char* stream = "x") {
  Generator generator(seed, stream);
  return randn(shape, generator, DType::f64).set_requires_grad();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <class Warnings>
bool any_contains(const Warnings& lines, const std::string& part) {
  for (const std::string& line : lines)
    if (contains(line, part)) return true;
  return false;
}

}  // namespace

static Op doubled_op("doubled_gradient", [](Backward& ctx) { ctx.set(0, ctx.dy() * 2.0); });
static Tensor doubled_gradient(const Tensor& x) { return record(doubled_op, raw::clone(x), {x}); }

// Where the Jacobian has no entries none is wrong, and a warning says so; an input without elements
// needs no path, and leaves the others' verdicts as they are.
BOOST_AUTO_TEST_CASE(without_elements) {
  const Tensor x = normal({3, 2}, 1), none = normal({0, 2}, 2);
  const auto first_rows = [](const Tensor& v) { return slice(v, 0, 0, 0) * 2.0; };
  const auto squares = [](std::span<const Tensor> v) {
    return sum(v[0] * v[0]) + sum(v[1] * v[1]);
  };
  const auto first_alone = [](std::span<const Tensor> v) { return sum(v[0] * v[0]); };
  for (const auto mode :
       {GradcheckMode::automatic, GradcheckMode::full, GradcheckMode::projected}) {
    const GradcheckOptions options{.mode = mode};
    for (const GradcheckReport& report :
         {gradcheck(first_rows, {x}, options), gradcheck(gradus::tanh, {none}, options),
          gradcheck([](const Tensor& v) { return sum(v * v); }, {none}, options),
          gradgradcheck(gradus::tanh, {none}, options)}) {
      BOOST_TEST(report.ok(), report.table());
      BOOST_TEST(report.entries == 0);
      BOOST_TEST(any_contains(report.warnings, "nothing to check"), report.table());
      BOOST_TEST(!contains(report.table(), "fault"), report.table());
    }
    for (const Function& f : {Function(squares), Function(first_alone)}) {
      const GradcheckReport report = gradcheck(f, {x, none}, options);
      BOOST_TEST(report.ok(), report.table());
      BOOST_TEST(report.agreeing == report.entries);
      BOOST_TEST(report.entries > 0);
      BOOST_TEST(!contains(report.table(), "no path"), report.table());
    }
    BOOST_TEST(gradgradcheck(squares, {x, none}, options).ok());
    BOOST_TEST(
        gradcheck([](std::span<const Tensor> v) { return sum(doubled_gradient(v[0])) + sum(v[1]); },
                  {x, none}, options)
            .disagreeing > 0);
  }
}

// Of right gradients none disagrees, whatever the shape and the scale.
BOOST_AUTO_TEST_CASE(right_gradients_agree) {
  struct Case {
    const char* what;
    Function f;
    bool matrix;
  };
  const auto norm_weights = [](const Tensor& x) { return test::wave({x.size(-1)}, 0.4, 1.3, 1); };
  const std::vector<Case> cases = {
      {"tanh", gradus::tanh, false},
      {"relu", relu, false},
      {"abs", gradus::abs, false},
      {"exp", gradus::exp, false},
      {"log of squares", [](const Tensor& x) { return gradus::log(square(x) + 1e-3); }, false},
      {"sharp", [](const Tensor& x) { return gradus::tanh(x * 300.0); }, false},
      {"mean", [](const Tensor& x) { return mean(x); }, false},
      {"max", [](const Tensor& x) { return max(x, {1}); }, true},
      {"softmax", [](const Tensor& x) { return softmax(x, -1); }, true},
      {"layer_norm", [=](const Tensor& x) { return layer_norm(x, {x.size(-1)}, norm_weights(x)); },
       true},
      {"batch_norm", [=](const Tensor& x) { return batch_norm(x, norm_weights(x)).y; }, true},
      {"far from 0",
       [](const Tensor& x) { return sum(square(layer_norm(x + 1000.0, {x.size(-1)}))); }, true},
      {"tiny", [](const Tensor& x) { return layer_norm(x * 1e-3, {x.size(-1)}); }, true},
      {"relu behind a norm", [](const Tensor& x) { return relu(batch_norm(x).y); }, true},
  };
  for (const Case& c : cases)
    for (uint64_t seed = 1; seed <= 8; ++seed) {
      Generator generator(seed, c.what);
      const double log_size = std::log(4096.0) * generator.uniform();
      const int64_t size = std::lround(std::exp(log_size));
      const int64_t rows =
          std::max<int64_t>(3, std::lround(std::exp(log_size * generator.uniform())));
      const Shape shape = c.matrix ? Shape{rows, std::max<int64_t>(3, size / rows)} : Shape{size};
      const GradcheckReport report =
          gradcheck(c.f, {normal(shape, seed)}, {.seed = seed, .seconds = 0.2});
      BOOST_TEST((report.disagreeing == 0 && report.faults.empty()), c.what << " " << str(shape)
                                                                            << "\n"
                                                                            << report);
      if (shape.numel() > 100) continue;
      const GradcheckReport second = gradgradcheck(c.f, {normal(shape, seed)}, {.seed = seed});
      BOOST_TEST((second.disagreeing == 0 && second.faults.empty()), c.what << " " << str(shape)
                                                                            << "\n"
                                                                            << second);
    }
}

BOOST_AUTO_TEST_CASE(a_single_entry_off_by_a_millionth_is_caught) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Generator generator(seed, "which");
    const int64_t k = static_cast<int64_t>(generator.below(35));
    const Spoiled f(
        [](const Tensor& x) { return layer_norm(x, {7}, test::wave({7}, 0.4, 1, 1)); },
        [=](auto, auto, std::vector<Tensor>& dx) { dx[0].mutable_data<double>()[k] *= 1 + 1e-6; });
    const GradcheckReport report =
        gradcheck([&](std::span<const Tensor> x) { return f(x); }, {normal({5, 7}, seed)});
    BOOST_TEST(!report);
    BOOST_TEST((report.inputs[0].wrong == std::vector<int64_t>{k}), report);
  }
}

// What one random weighted sum of the outputs would never see.
BOOST_AUTO_TEST_CASE(no_direction_of_the_output_is_left_out) {
  const Spoiled f(gradus::tanh, [](auto, const Tensor& dy, std::vector<Tensor>& dx) {
    // Wrong for one-hot dy only in what they have in common with (1, -1, 0, ...).
    const double part = dy.data<double>()[0] - dy.data<double>()[1];
    dx[0].mutable_data<double>()[2] += 1e-3 * part;
  });
  BOOST_TEST(!gradcheck([&](std::span<const Tensor> x) { return f(x); }, {normal({6}, 1)}));
}

BOOST_AUTO_TEST_CASE(verdicts) {
  // Through f32: too much rounding to tell.
  const GradcheckReport coarse =
      gradcheck([](const Tensor& x) { return cast(gradus::tanh(cast(x, DType::f32)), DType::f64); },
                {normal({5}, 1)});
  BOOST_TEST(coarse.unresolved == 5, coarse);
  BOOST_TEST(!coarse.ok());
  BOOST_TEST(contains(coarse.text(), "NOTHING TOLD"));

  const Tensor x = Tensor::of({-1, 0, 1e-9, 1e-3, 2}, DType::f64).set_requires_grad();
  const GradcheckReport kinks = gradcheck(relu, {x});
  BOOST_TEST(kinks.kinks >= 1, kinks);
  BOOST_TEST(kinks.kinks + kinks.unresolved == 2, kinks);
  BOOST_TEST(kinks.agreeing == 3);
  BOOST_TEST(kinks.ok());
}

// At any distance from a kink a right gradient never fails, and away from it a wrong one does.
BOOST_AUTO_TEST_CASE(kinks_fail_nothing_and_hide_nothing) {
  struct Kink {
    const char* what;
    Function f;
    double at;
  };
  const std::vector<Kink> kinks = {
      {"relu", relu, 0},
      {"abs", gradus::abs, 0},
      {"clamp", [](const Tensor& x) { return clamp(x, -1, 0.5); }, 0.5},
      {"maximum", [](const Tensor& x) { return maximum(x, gradus::tanh(x * 2.0)); }, 0},
      {"slight", [](const Tensor& x) { return relu(x) * 1e-5 + gradus::exp(x); }, 0},
      {"steep", [](const Tensor& x) { return relu(x) * 1e3 + gradus::exp(x); }, 0}};
  for (const Kink& kink : kinks)
    for (const double side : {1.0, -1.0})
      for (const double distance :
           {0.0, 1e-15, 1e-13, 1e-11, 1e-9, 1e-8, 1e-7, 3e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2}) {
        const Tensor x =
            Tensor::from(std::vector<double>{kink.at + side * distance, kink.at + 0.3}, {2})
                .set_requires_grad();
        const GradcheckReport report = gradcheck(kink.f, {x});
        BOOST_TEST(report.disagreeing == 0, kink.what << " at " << side * distance << report);
        if (distance < 1e-5) continue;
        // At 1e-5 the steps that do not straddle it may be too short for the steep one's exp.
        const int64_t told = report.agreeing + (distance < 1e-4 ? report.unresolved : 0);
        BOOST_TEST(told == 2, kink.what << " at " << side * distance << report);
        const Spoiled wrong(kink.f, [](auto, auto, std::vector<Tensor>& dx) {
          dx[0].mutable_data<double>()[0] += 1e-5;
        });
        BOOST_TEST(!gradcheck([&](std::span<const Tensor> in) { return wrong(in); }, {x}),
                   kink.what << " at " << side * distance);
      }
}

// A row-wise product of two (300, 40), a Jacobian of 288 million elements.
BOOST_AUTO_TEST_CASE(what_is_too_large_is_projected, *test::repeats) {
  const Tensor a = normal({300, 40}, 1).set_name("a"), b = normal({300, 40}, 2).set_name("b");
  const auto f = [](const Tensor& x, const Tensor& y) { return gradus::tanh(x) * y; };
  const GradcheckReport right = gradcheck(f, {a, b});
  BOOST_TEST(right);
  BOOST_TEST((right.mode == GradcheckMode::projected));
  BOOST_TEST(right.miss_probability < 1e-6);
  BOOST_TEST(contains(right.table(), "goes unnoticed with probability"));
  BOOST_TEST(right.entries == 8);
  // Once in a million entries, by as much as the whole.
  const Spoiled wrong(f, [](auto, auto, std::vector<Tensor>& dx) {
    dx[1].mutable_data<double>()[40 * 123 + 7] += 0.1;
  });
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const GradcheckReport report =
        gradcheck([&](std::span<const Tensor> x) { return wrong(x); }, {a, b}, {.seed = seed});
    BOOST_TEST(!report);
    BOOST_TEST(report.inputs[0].counts.disagree == 0);
    BOOST_TEST(report.inputs[1].where == "entries [(123, 7)]; 1 of 12000", report);
  }
}

BOOST_AUTO_TEST_CASE(the_time_budget_decides) {
  const Tensor x = normal({40, 20}, 1);
  BOOST_TEST((gradcheck(gradus::tanh, {x}, {.seconds = 1000}).mode == GradcheckMode::full));
  BOOST_TEST((gradcheck(gradus::tanh, {x}, {.seconds = 1e-6}).mode == GradcheckMode::projected));
}

BOOST_AUTO_TEST_CASE(random_state_buffers_and_inputs_are_as_before) {
  manual_seed(7);
  default_generator().uint64();
  const Generator::State before = default_generator().state();
  Tensor count = zeros({1}, DType::f64);
  const Tensor x = normal({4, 3}, 1);
  const std::vector<double> values = x.to_vector<double>();
  const auto f = [&](const Tensor& in) {
    count.mutable_data<double>()[0] += 1;
    return dropout(gradus::exp(in), 0.5, true) * count;
  };
  for (const GradcheckMode mode : {GradcheckMode::full, GradcheckMode::projected}) {
    BOOST_TEST(gradcheck(f, {x}, {.mode = mode, .buffers = {count}}));
    BOOST_TEST(gradgradcheck(f, {x}, {.mode = mode, .buffers = {count}}));
  }
  BOOST_TEST((default_generator().state() == before));
  BOOST_TEST(count.item() == 0);
  BOOST_TEST(x.to_vector<double>() == values);
  BOOST_TEST(!x.grad());
  // Without being told of the buffer it sees what happens.
  const GradcheckReport report = gradcheck(f, {x});
  BOOST_TEST(!report);
  BOOST_TEST(any_contains(report.faults, "different results on equal input"), report);
}

BOOST_AUTO_TEST_CASE(a_function_that_changes_its_inputs_is_reported) {
  const Tensor x = normal({3}, 1).set_name("x");
  const std::vector<double> values = x.to_vector<double>();
  const GradcheckReport report = gradcheck(
      [](const Tensor& in) {
        const Tensor y = square(in);
        Tensor same = in;
        same.mutable_data<double>()[1] += 1;
        return y;
      },
      {x});
  BOOST_TEST(!report);
  BOOST_TEST(any_contains(report.faults, "changes x"), report);
  BOOST_TEST(x.to_vector<double>() == values);
}

BOOST_AUTO_TEST_CASE(weak_set_ups_are_warned_of) {
  const auto warnings = [](const Function& f, std::vector<Tensor> inputs) {
    return gradcheck(f, inputs).warnings;
  };
  const auto bn = [](const Tensor& x) { return batch_norm(x).y; };
  BOOST_TEST(any_contains(warnings(bn, {normal({2, 3}, 1)}), "two values a channel"));
  BOOST_TEST(!any_contains(warnings(bn, {normal({3, 2}, 1)}), "two values a channel"));
  const auto summed = [](const Tensor& x) { return mean(layer_norm(x, {3})); };
  BOOST_TEST(any_contains(warnings(summed, {normal({4, 3}, 1)}), "plain sum behind layer_norm"));
  BOOST_TEST(!any_contains(warnings([](const Tensor& x) { return sum(square(layer_norm(x, {3}))); },
                                    {normal({4, 3}, 1)}),
                           "plain sum"));
  const Tensor w = ones({3}, DType::f64).set_requires_grad().set_name("weight");
  const auto scaled = [](const Tensor& x, const Tensor& weight) { return x * weight; };
  BOOST_TEST(any_contains(warnings(scaled, {normal({4, 3}, 1), w}), "weight is all ones"));
  BOOST_TEST(any_contains(warnings(gradus::tanh, {normal({4, 4}, 1)}), "(4, 4) is square"));
  const Tensor single = raw::cast(normal({4}, 1), DType::f32).set_requires_grad();
  const GradcheckReport f32 = gradcheck(gradus::tanh, {single}, {.resolution = 1e-2});
  BOOST_TEST(any_contains(f32.warnings, "is f32"));
  BOOST_TEST(f32.ok(), f32);
  // They are seen where the check passes, and in second order.
  BOOST_TEST(contains(gradcheck(gradus::tanh, {normal({4, 4}, 1)}).text(), "warning: "));
  BOOST_TEST(any_contains(gradgradcheck(bn, {normal({2, 3}, 1)}).warnings, "two values a channel"));
  BOOST_TEST(gradcheck(gradus::tanh, {normal({4, 4, 3}, 1)}).warnings.empty());
}

BOOST_AUTO_TEST_CASE(the_report_can_be_read_by_people_and_programs) {
  const Spoiled f(
      [](const Tensor& x, const Tensor& w) { return x * w; },
      [](auto, auto, std::vector<Tensor>& dx) { dx[1].mutable_data<double>()[3] *= 2; });
  const Tensor x = normal({4, 5}, 1).set_name("x"), w = normal({5}, 2).set_name("layers.1.weight");
  const GradcheckReport report = gradcheck([&](std::span<const Tensor> in) { return f(in); },
                                           {x, w}, {.seed = 42, .subject = "scale"});
  const std::string text = report.text();
  BOOST_TEST(contains(text, "scale, first order: FAILED"), text);
  BOOST_TEST(contains(text, "layers.1.weight (5,): entries [3]; 1 of 5"), text);
  BOOST_TEST(contains(text, "looks like a factor of 2 in the entries that disagree"), text);
  const std::string last = text.substr(text.rfind('\n') + 1);
  BOOST_TEST(last == "again: gradcheck(f, inputs, {.seed = 42, .mode = GradcheckMode::full})");
  std::ostringstream stream;
  stream << report;
  BOOST_TEST(stream.str() == text);
  BOOST_TEST(fmt::format("{}", report) == text);
  BOOST_TEST(report.table() == text);
  const GradcheckReport right = gradcheck(gradus::tanh, {x}, {.subject = "tanh"});
  BOOST_TEST(contains(right.text(), "tanh: 20 entries agree, largest error"), right.text());
  BOOST_TEST(contains(right.table(), "\nagain: gradcheck(f, inputs, {.seed = 1"), right);

  BOOST_TEST(gradcheck(gradus::tanh, {x}, {.resolution = 1e-5, .safety = 8, .seed = 7, .probes = 2})
                 .reproduce ==
             "gradcheck(f, inputs, {.resolution = 1e-05, .safety = 8, .seed = 7, .mode = "
             "GradcheckMode::full, .probes = 2})");

  const nlohmann::json json = nlohmann::json::parse(to_json(report));
  BOOST_TEST(json["ok"] == false);
  BOOST_TEST(json["disagree"] == 1);
  BOOST_TEST(json["inputs"][1]["name"] == "layers.1.weight");
  BOOST_TEST(json["inputs"][1]["wrong"] == std::vector<int>{3});
  BOOST_TEST(json["inputs"][1]["pattern"] == "factor");
  BOOST_TEST(json["reproduce"] == last.substr(7));
}

BOOST_AUTO_TEST_CASE(equal_seeds_give_equal_reports) {
  const Tensor x = normal({3, 4}, 1);
  const auto once = [&](uint64_t seed) {
    nlohmann::json json = nlohmann::json::parse(
        to_json(gradcheck([](const Tensor& in) { return softmax(in, -1); }, {x},
                          {.seed = seed, .mode = GradcheckMode::projected})));
    json.erase("seconds");
    return json.dump();
  };
  BOOST_TEST(once(3) == once(3));
  BOOST_TEST(once(3) != once(4));
}

BOOST_AUTO_TEST_CASE(bad_input_never_passes) {
  const Tensor x = normal({3}, 1).set_name("x");
  const auto error = [&](const Function& f, std::vector<Tensor> inputs, const std::string& text) {
    BOOST_CHECK_EXCEPTION(gradcheck(f, inputs), Error, says(text));
    BOOST_CHECK_THROW(gradgradcheck(f, inputs), Error);
  };
  error(gradus::tanh, {}, "no inputs");
  error([](const Tensor&) { return Tensor(); }, {x}, "returned no tensor");
  error([](const Tensor& in) { return argmax(in, 0); }, {x}, "returned () i64");
  error(gradus::tanh, {arange(3)}, "is i64: only floating inputs");
  error(gradus::tanh, {raw::clone(x)}, "a leaf that requires a gradient");
  error([](const Tensor&) { return ones({2}, DType::f64); }, {x}, "no path");
  error([](const Tensor& in) { return step(in); }, {x}, "no path");
  error([](const Tensor& a, const Tensor& b) { return a * b; }, {x}, "of 2 tensors was given 1");
  error([](const Tensor& in) { return gradus::sqrt(gradus::log(in * in * 1e-9) + 1.0) * 2.0; }, {x},
        "sqrt (3,) made it first, at (0,): nan");
  error([](const Tensor& in) { return gradus::exp(in * 0.0) / (in * 0.0); }, {x},
        "div (3,) made it first, at (0,): ");
  const Tensor nan = Tensor::of({1, std::nan(""), 2}, DType::f64).set_requires_grad();
  error(gradus::tanh, {nan}, "input 0 (3,) is not finite at (1,): nan");
  error([](const Tensor&) -> Tensor { throw Error("out of coffee"); }, {x}, "out of coffee");
}

BOOST_AUTO_TEST_CASE(a_function_that_throws_beside_the_point_is_told_where) {
  const Tensor x = Tensor::of({1, 2, 3}, DType::f64).set_requires_grad().set_name("x");
  const std::vector<double> values = x.to_vector<double>();
  const auto f = [](const Tensor& in) {
    if (in.data<double>()[1] > 2) throw std::runtime_error("more than two");
    return square(in);
  };
  BOOST_CHECK_EXCEPTION(gradcheck(f, {x}), Error,
                        says("the function threw with x (1,) moved by 0.0312: more than two"));
  BOOST_TEST(x.to_vector<double>() == values);
}

BOOST_AUTO_TEST_CASE(an_input_without_effect_is_no_pass) {
  const Tensor x = normal({3}, 1).set_name("x"), w = normal({3}, 2).set_name("w");
  const GradcheckReport report =
      gradcheck([](const Tensor& a, const Tensor&) { return gradus::tanh(a); }, {x, w});
  BOOST_TEST(!report);
  BOOST_TEST(any_contains(report.faults, "no path: the result does not depend on w"), report);
}

BOOST_AUTO_TEST_CASE(a_cut_path_is_an_input_without_gradient) {
  const Tensor x = normal({3}, 1).set_name("x"), w = normal({3}, 2).set_name("w");
  const GradcheckReport report = gradcheck(
      [](const Tensor& a, const Tensor& b) {
        Tensor hidden;
        {
          const NoRecord pause;
          hidden = b * 2.0;
        }
        return a * hidden;
      },
      {x, w});
  BOOST_TEST(report.inputs[0].counts.agree == 3);
  BOOST_TEST(report.inputs[1].counts.disagree == 3);
  BOOST_TEST(contains(report.inputs[1].diagnosis.text, "no path leads to it"), report);
}

// Its first derivative is right, that derivative's own is not.
BOOST_AUTO_TEST_CASE(second_derivatives_are_checked_too) {
  static Op once("square_detached", [](Backward& ctx) {
    Tensor twice;
    {
      const NoRecord pause;
      twice = ctx.kept(0) * 2.0;
    }
    ctx.set(0, ctx.dy() * twice);
  });
  const auto f = [](const Tensor& x) {
    Tensor y;
    {
      const NoRecord pause;
      y = square(x);
    }
    return record(once, y, {x}, {x});
  };
  const Tensor x = normal({4}, 1).set_name("x");
  BOOST_TEST(gradcheck(f, {x}));
  const GradcheckReport second = gradgradcheck(f, {x});
  BOOST_TEST(second.inputs[0].counts.disagree == 4, second);
  BOOST_TEST(second.inputs[1].counts.disagree == 0, second);
}

// An op may take another way where its gradient is recorded; it must be the same gradient.
BOOST_AUTO_TEST_CASE(a_recorded_gradient_that_is_another_one_is_a_fault) {
  static Op op("cube", [](Backward& ctx) {
    const double factor = detail::recorder ? 3.5 : 3;
    ctx.set(0, ctx.dy() * square(ctx.kept(0)) * factor);
  });
  const auto f = [](const Tensor& x) {
    Tensor y;
    {
      const NoRecord pause;
      y = square(x) * x;
    }
    return record(op, y, {x}, {x});
  };
  const Tensor x = normal({4}, 1).set_name("x");
  BOOST_TEST(gradcheck(f, {x}));
  const GradcheckReport second = gradgradcheck(f, {x});
  BOOST_TEST(second.disagreeing == 0, second);
  BOOST_TEST(any_contains(second.faults, "the gradient of x is another one when it records itself"),
             second);
}

namespace {

Spoiled times(Function f, double factor) {
  return {std::move(f), [=](auto, auto, std::vector<Tensor>& dx) { dx[0] = dx[0] * factor; }};
}

Tensor leaf(std::vector<double> values) {
  const int64_t n = static_cast<int64_t>(values.size());
  return Tensor::from(std::move(values), {n}).set_requires_grad().set_name("x");
}

GradcheckReport check_spoiled(const Spoiled& f, const Tensor& x,
                              const GradcheckOptions& options = {}) {
  return gradcheck([&](std::span<const Tensor> in) { return f(in); }, {x}, options);
}

}  // namespace

// Steps go on until they are shorter than the feature; what no step resolves is no disagreement.
BOOST_AUTO_TEST_CASE(features_narrower_than_the_first_steps_are_no_errors) {
  for (const double eps : {1e-8, 1e-12, 1e-14})
    for (const double scale : {0.0, 1e-7, 1e-5, 1e-3})
      for (uint64_t seed = 1; seed <= 10; ++seed) {
        const Tensor x = raw::clone(normal({3, 4}, seed) * scale).set_requires_grad();
        const GradcheckReport report =
            gradcheck([=](const Tensor& in) { return layer_norm(in, {4}, {}, {}, {.eps = eps}); },
                      {x}, {.seed = seed});
        BOOST_TEST(report.disagreeing == 0, "eps " << eps << " scale " << scale << report);
      }
  for (const double at : {1e-3, 1e-5, 1e-6, 1e-7}) {
    const GradcheckReport report =
        gradcheck([](const Tensor& x) { return reciprocal(x); }, {leaf({at})});
    BOOST_TEST(report.disagreeing == 0, at << report);
    BOOST_TEST(!check_spoiled(times(gradus::log, 1.001), leaf({at})), at);
  }
}

// Central differences whose steps are whole periods are all 0.
BOOST_AUTO_TEST_CASE(periods_that_divide_the_steps_hide_nothing) {
  constexpr double kPi = 3.14159265358979323846;
  for (int k = 0; k <= 12; ++k) {
    const double w = std::exp2(k) * kPi;
    const Function f = [=](const Tensor& x) { return sin(x * w); };
    const Tensor x = leaf({0.1, 0.37, -0.8});
    const GradcheckReport right = gradcheck(f, {x}), wrong = check_spoiled(times(f, 0), x);
    BOOST_TEST(right.agreeing == 3, "2^" << k << " pi" << right);
    BOOST_TEST(wrong.disagreeing == 3, "2^" << k << " pi" << wrong);
  }
}

// Beside a large constant, or a large neighbour, a small derivative is told or called untold.
BOOST_AUTO_TEST_CASE(small_derivatives_do_not_pass_unseen) {
  const GradcheckReport beside =
      check_spoiled(times([](const Tensor& x) { return x * 1e-8 + 1e6; }, 2), leaf({0.3, 1.2}));
  BOOST_TEST(beside.agreeing == 0, beside);
  const GradcheckReport off = check_spoiled(
      times([](const Tensor& x) { return tanh(x) * 1e-4 + 1e6; }, 1.0001), leaf({0.3, 1.2}));
  BOOST_TEST(off.agreeing == 0, off);
  const Tensor scales = Tensor::of({1e6, 1e6, 1e-8}, DType::f64);
  const Spoiled last(
      [=](const Tensor& x) { return x * scales; },
      [](auto, auto, std::vector<Tensor>& dx) { dx[0].mutable_data<double>()[2] *= 2; });
  const GradcheckReport small = check_spoiled(last, leaf({0.3, 1.2, 0.7}));
  BOOST_TEST(small.agreeing == 2, small);
}

BOOST_AUTO_TEST_CASE(a_check_of_kinks_alone_tells_nothing) {
  const GradcheckReport report = check_spoiled(times(relu, 7), leaf({0, 0, 0}));
  BOOST_TEST(report.kinks == 3);
  BOOST_TEST(!report.ok(), report);
  BOOST_TEST(contains(report.text(), "NOTHING TOLD"), report);
}

BOOST_AUTO_TEST_CASE(inputs_that_are_changed_are_restored_in_second_order_too) {
  const Tensor x = normal({3}, 1).set_name("x");
  const std::vector<double> values = x.to_vector<double>();
  const GradcheckReport report = gradgradcheck(
      [](const Tensor& in) {
        const Tensor y = square(in);
        Tensor same = in;
        same.mutable_data<double>()[1] += 1;
        return y;
      },
      {x});
  BOOST_TEST(any_contains(report.faults, "changes x"), report);
  BOOST_TEST(x.to_vector<double>() == values);
  // Also if it throws.
  BOOST_CHECK_THROW(gradcheck(
                        [](const Tensor& in) -> Tensor {
                          Tensor same = in;
                          same.mutable_data<double>()[1] += 1;
                          throw Error("no");
                        },
                        {x}),
                    Error);
  BOOST_TEST(x.to_vector<double>() == values);
}

BOOST_AUTO_TEST_CASE(gradients_that_are_not_finite_are_named_and_spoil_no_others) {
  const GradcheckReport root = gradcheck(gradus::sqrt, {leaf({0, 1, 4, 9})});
  BOOST_TEST((root.inputs[0].wrong == std::vector<int64_t>{0}), root);
  BOOST_TEST(root.agreeing == 3, root);
  BOOST_TEST(std::isinf(root.largest_error));
  BOOST_TEST(any_contains(root.faults, "sqrt"), root);
  const GradcheckReport norm =
      gradcheck([](const Tensor& x) { return gradus::sqrt(square(x)); }, {leaf({0, 1, 4})});
  BOOST_TEST(norm.inputs[0].counts.disagree == 1, norm);
  BOOST_TEST(norm.inputs[0].diagnosis.text.empty(), norm);
  BOOST_TEST(any_contains(norm.faults, "made it first"), norm);
}

BOOST_AUTO_TEST_CASE(a_backward_that_throws_is_named) {
  static Op op("thrower", [](Backward&) { throw std::runtime_error("out of tea"); });
  const auto f = [](const Tensor& x) {
    Tensor y;
    {
      const NoRecord pause;
      y = square(x);
    }
    return record(op, y, {x}, {});
  };
  BOOST_CHECK_EXCEPTION(gradcheck(f, {normal({3}, 1)}), Error, says("thrower: "));
  BOOST_CHECK_EXCEPTION(gradcheck(f, {normal({3}, 1)}), Error, says("out of tea"));
}

BOOST_AUTO_TEST_CASE(a_backward_that_differs_from_time_to_time_is_a_fault) {
  static int sweeps = 0;
  const Spoiled f(gradus::tanh, [](auto, auto, std::vector<Tensor>& dx) {
    dx[0] = dx[0] * (1 + 1e-15 * ++sweeps);
  });
  const GradcheckReport report = check_spoiled(f, normal({4}, 1));
  BOOST_TEST(any_contains(report.faults, "differ from one sweep to the next"), report);
}

BOOST_AUTO_TEST_CASE(options_without_sense_are_refused) {
  const Tensor x = normal({3}, 1);
  for (const GradcheckOptions& options :
       {GradcheckOptions{.resolution = 0}, GradcheckOptions{.safety = 0},
        GradcheckOptions{.probes = 0}, GradcheckOptions{.seconds = -1}}) {
    BOOST_CHECK_THROW(gradcheck(gradus::tanh, {x}, options), Error);
    BOOST_CHECK_THROW(gradgradcheck(gradus::tanh, {x}, options), Error);
  }
}

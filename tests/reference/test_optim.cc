#define BOOST_TEST_MODULE reference_optim
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/tape.h>
#include <gradus/optim/adagrad.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/lbfgs.h>
#include <gradus/optim/rmsprop.h>
#include <gradus/optim/schedule.h>
#include <gradus/optim/sgd.h>

#include <functional>
#include <memory>
#include <set>

#include "tests/checks.h"
#include "tests/reference/reference.h"

using namespace gradus;
using namespace gradus::test;

namespace {

using Parameters = std::vector<Tensor>;  // two

// Twelve steps of up to ten roundings each; the largest difference found is 8 roundings.
constexpr int kRoundings = 32;

/// Which optimizer a trajectory is of, and what else happens in its steps.
struct Row {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(const Parameters&)> make;
  Schedule schedule = constant_schedule();
  std::set<int64_t> absent = {};  ///< steps in which the second parameter has no gradient
  double max_norm = 0;            ///< clip_grad_norm's; 0: no clipping
};

template <class O, class Options>
auto make(Options options) {
  return [=](const Parameters& p) -> std::unique_ptr<Optimizer> {
    return std::make_unique<O>(p, options);
  };
}

/// Each parameter in a group of its own.
template <class O, class Options>
auto make_groups(Options options) {
  return [=](const Parameters& p) -> std::unique_ptr<Optimizer> {
    return std::make_unique<O>(
        std::vector<ParameterGroup>{{.parameters = {p[0]}, .lr = 0.1, .weight_decay = 0.05},
                                    {.parameters = {p[1]}, .lr = 0.03, .weight_decay = 0}},
        options);
  };
}

std::vector<Row> rows() {
  const auto sgd = [](SgdOptions options) { return make<Sgd>(options); };
  const auto adam = [](AdamOptions options) { return make<Adam>(options); };
  const auto adamw = [](AdamWOptions options) { return make<AdamW>(options); };
  const auto rmsprop = [](RmspropOptions options) { return make<Rmsprop>(options); };
  const auto adagrad = [](AdagradOptions options) { return make<Adagrad>(options); };
  const Schedule warmup_cosine = warmup_schedule(5, cosine_schedule(7));
  return {
      {"sgd", sgd({.lr = 0.1})},
      {"sgd.decay", sgd({.lr = 0.1, .weight_decay = 0.05})},
      {"sgd.momentum", sgd({.lr = 0.1, .momentum = 0.9})},
      {"sgd.dampening", sgd({.lr = 0.1, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.05})},
      {"sgd.nesterov", sgd({.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05, .nesterov = true})},
      {"adam", [](const Parameters& p) { return std::make_unique<Adam>(p); }},
      {"adam.decay",
       adam({.lr = 0.1, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.05})},
      {"adamw", [](const Parameters& p) { return std::make_unique<AdamW>(p); }},
      {"adamw.decay",
       adamw({.lr = 0.1, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.3})},
      {"rmsprop", [](const Parameters& p) { return std::make_unique<Rmsprop>(p); }},
      {"rmsprop.decay", rmsprop({.lr = 0.05, .alpha = 0.9, .eps = 1e-3, .weight_decay = 0.05})},
      {"rmsprop.momentum", rmsprop({.lr = 0.05, .alpha = 0.9, .momentum = 0.7})},
      {"rmsprop.centered", rmsprop({.lr = 0.05, .alpha = 0.9, .centered = true})},
      {"rmsprop.all",
       rmsprop(
           {.lr = 0.05, .alpha = 0.9, .weight_decay = 0.05, .momentum = 0.7, .centered = true})},
      {"sgd.maximize", sgd({.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05, .maximize = true})},
      {"adam.amsgrad", adam({.lr = 0.1,
                             .beta1 = 0.8,
                             .beta2 = 0.6,
                             .eps = 1e-3,
                             .weight_decay = 0.05,
                             .amsgrad = true})},
      {"adam.maximize", adam({.lr = 0.1, .weight_decay = 0.05, .maximize = true})},
      {"adamw.all", adamw({.lr = 0.1,
                           .beta2 = 0.6,
                           .eps = 1e-3,
                           .weight_decay = 0.3,
                           .amsgrad = true,
                           .maximize = true})},
      {"rmsprop.maximize", rmsprop({.lr = 0.05, .weight_decay = 0.05, .maximize = true})},
      {"adagrad", [](const Parameters& p) { return std::make_unique<Adagrad>(p); }},
      {"adagrad.all", adagrad({.lr = 0.1,
                               .lr_decay = 0.1,
                               .weight_decay = 0.05,
                               .initial_accumulator_value = 0.3,
                               .eps = 1e-3,
                               .maximize = true})},
      {"adagrad.groups", make_groups<Adagrad>(AdagradOptions{})},
      {"adam.defaults",
       [](const Parameters& p) {
         return std::make_unique<Adam>(
             std::vector<ParameterGroup>{{.parameters = {p[0]}},
                                         {.parameters = {p[1]}, .lr = 0.03}},
             AdamOptions{.lr = 0.1, .weight_decay = 0.05});
       }},
      {"sgd.groups", make_groups<Sgd>(SgdOptions{.momentum = 0.9})},
      {"adamw.groups", make_groups<AdamW>(AdamWOptions{})},
      {"sgd.absent",
       sgd({.lr = 0.1, .momentum = 0.9, .dampening = 0.3}),
       constant_schedule(),
       {0, 4, 5}},
      {"adam.absent", adam({.lr = 0.1}), constant_schedule(), {0, 4, 5}},
      {"sgd.clipped", sgd({.lr = 0.1, .momentum = 0.9}), constant_schedule(), {}, 4},
      {"adam.schedule", make_groups<Adam>(AdamOptions{}), warmup_cosine},
      {"sgd.schedule", make_groups<Sgd>(SgdOptions{.momentum = 0.9}), step_schedule(5, 0.3)},
  };
}

void check_trajectory(const Case& problem, const Case& c, const Row& row, DType dtype) {
  Parameters p{in(dtype, problem.at("p0")), in(dtype, problem.at("p1"))};
  for (Tensor& parameter : p) parameter.set_requires_grad();
  const auto optimizer = row.make(p);
  for (int64_t t = 0; t < c.at("after0").size(0); ++t) {
    optimizer->zero_grad();
    p[0].set_grad(in(dtype, select(problem.at("g0"), 0, t)));
    if (!row.absent.contains(t)) p[1].set_grad(in(dtype, select(problem.at("g1"), 0, t)));
    const std::string what = fmt::format("{}, {}, step {}: ", c.name, name(dtype), t);
    if (row.max_norm > 0)
      check_same(what + "norm", full({}, clip_grad_norm(p, row.max_norm), dtype),
                 select(c.at("norms"), 0, t), dtype, kRoundings);
    optimizer->set_lr_factor(row.schedule(t));
    optimizer->step();
    check_same(what + "p0", p[0], select(c.at("after0"), 0, t), dtype, kRoundings);
    check_same(what + "p1", p[1], select(c.at("after1"), 0, t), dtype, kRoundings);
  }
}

const std::string kSchedule = "schedule.", kLbfgs = "lbfgs.", kPlateau = "plateau";

/// Cases of that part alone.
std::map<std::string, Case> cases_of(const std::string& part) {
  auto cases = load_cases("optim.safetensors");
  std::erase_if(cases, [&](const auto& c) { return !c.first.starts_with(part); });
  return cases;
}

}  // namespace

BOOST_AUTO_TEST_CASE(trajectories_are_pytorchs) {
  auto cases = load_cases("optim.safetensors");
  const Case problem = cases.at("problem");
  cases.erase("problem");
  std::erase_if(cases, [](const auto& c) {
    return c.first.starts_with(kSchedule) || c.first.starts_with(kLbfgs) ||
           c.first.starts_with(kPlateau);
  });
  for_each_case(cases, rows(), [&](const Case& c, const Row& row) {
    for (DType dtype : {DType::f64, DType::f32}) check_trajectory(problem, c, row, dtype);
  });
}

BOOST_AUTO_TEST_CASE(schedules_are_pytorchs) {
  struct ScheduleRow {
    std::string name;
    Schedule schedule;
  };
  const auto cases = cases_of(kSchedule);
  const std::vector<ScheduleRow> schedules{
      {"schedule.step", step_schedule(5, 0.3)},
      {"schedule.cosine", cosine_schedule(12)},
      {"schedule.cosine.lowest", cosine_schedule(12, 0.1)},
      {"schedule.multi_step", multi_step_schedule({7, 2, 9, 7}, 0.3)},
      {"schedule.exponential", exponential_schedule(0.7)},
      {"schedule.polynomial", polynomial_schedule(9, 1.5)},
      {"schedule.restarts", cosine_restarts_schedule(5, 1, 0.1)},
      {"schedule.restarts.longer", cosine_restarts_schedule(2, 2)},
      {"schedule.one_cycle", one_cycle_schedule(14)},
      {"schedule.one_cycle.all", one_cycle_schedule(13, 0.45, 10, 50)},
      {"schedule.warmup", warmup_schedule(5)},
      {"schedule.warmup.cosine", warmup_schedule(5, cosine_schedule(7))}};
  for_each_case(cases, schedules, [](const Case& c, const ScheduleRow& row) {
    const Tensor& factors = c.at("factors");
    for (int64_t t = 0; t < factors.numel(); ++t)
      check_same(fmt::format("{}, step {}", c.name, t), full({}, row.schedule(t), DType::f64),
                 select(factors, 0, t), DType::f64, kRoundings);
  });
}

BOOST_AUTO_TEST_CASE(plateaus_are_pytorchs) {
  struct PlateauRow {
    std::string name;
    PlateauOptions options;
  };
  const std::vector<PlateauRow> plateaus{
      {"plateau", {}},
      {"plateau.patience", {.factor = 0.5, .patience = 2}},
      {"plateau.max", {.factor = 0.5, .patience = 1, .improvement = {Better::higher, 0.05, false}}},
      {"plateau.max.rel",
       {.factor = 0.5, .patience = 1, .improvement = {Better::higher, 0.01, true}}},
      {"plateau.cooldown",
       {.factor = 0.5,
        .patience = 1,
        .improvement = {Better::lower, 0.01, false},
        .cooldown = 3,
        .lowest = 0.1}}};
  for_each_case(cases_of(kPlateau), plateaus, [](const Case& c, const PlateauRow& row) {
    ReduceOnPlateau plateau(row.options);
    for (int64_t t = 0; t < c.at("metrics").numel(); ++t)
      check_same(fmt::format("{}, epoch {}", c.name, t),
                 full({}, plateau.step(c.at("metrics").at({t})), DType::f64),
                 select(c.at("factors"), 0, t), DType::f64, kRoundings);
  });
}

BOOST_AUTO_TEST_CASE(lbfgs_iterates_are_pytorchs) {
  using Loss = std::function<Tensor(const Parameters&)>;
  struct LbfgsRow {
    std::string name;
    Loss loss;
    std::vector<std::vector<double>> start;
    LbfgsOptions options;
  };
  auto cases = cases_of(kLbfgs);
  const Case problem = cases.at("lbfgs.problem");
  cases.erase("lbfgs.problem");
  const Loss rosenbrock = [](const Parameters& p) {
    return sum(square(1 - p[0]) + 100 * square(p[1] - square(p[0])));
  };
  const Loss least_squares = [&](const Parameters& p) {
    const Tensor y = squeeze(matmul(problem.at("x"), unsqueeze(p[0], 1)), 1) + p[1];
    return mean(square(y - problem.at("y")));
  };
  const std::vector<std::vector<double>> valley{{-1.2}, {1}}, plane{{0, 0, 0}, {0.5}};
  constexpr LineSearch wolfe = LineSearch::strong_wolfe;
  const std::vector<LbfgsRow> lbfgs{
      {"lbfgs.rosenbrock",
       rosenbrock,
       valley,
       {.max_iter = 1, .max_eval = 10, .line_search_fn = wolfe}},
      {"lbfgs.rosenbrock.whole", rosenbrock, valley, {.line_search_fn = wolfe}},
      {"lbfgs.rosenbrock.short",
       rosenbrock,
       valley,
       {.max_iter = 4, .history_size = 2, .line_search_fn = wolfe}},
      {"lbfgs.rosenbrock.rate",
       rosenbrock,
       valley,
       {.lr = 0.3, .max_iter = 3, .max_eval = 20, .line_search_fn = wolfe}},
      {"lbfgs.rosenbrock.fixed", rosenbrock, {{0.9}, {0.85}}, {.lr = 0.5, .max_iter = 2}},
      {"lbfgs.least_squares", least_squares, plane, {.max_iter = 2, .line_search_fn = wolfe}},
      {"lbfgs.least_squares.fixed", least_squares, plane, {.lr = 0.7, .max_iter = 3}},
      {"lbfgs.least_squares.few", least_squares, plane, {.max_eval = 2, .line_search_fn = wolfe}},
      {"lbfgs.least_squares.tolerance",
       least_squares,
       plane,
       {.tolerance_grad = 1e-3, .tolerance_change = 1e-4, .line_search_fn = wolfe}}};
  for_each_case(cases, lbfgs, [](const Case& c, const LbfgsRow& row) {
    Parameters p;
    for (const auto& start : row.start)
      p.push_back(Tensor::from(start, {std::ssize(start)}).set_requires_grad());
    Lbfgs optimizer(p, row.options);
    const Tensor& after = c.at("after");
    // Each iteration makes the last one's roundings larger, by the problem's condition (2500).
    constexpr double kTolerance = 1e-9;
    for (int64_t t = 0; t < after.size(0); ++t) {
      const double loss = optimizer.step([&] {
        Tape tape;
        const Tensor y = row.loss(p);
        optimizer.zero_grad();
        tape.backward(y);
        return y;
      });
      const std::string what = fmt::format("{}, step {}", c.name, t);
      const NoRecord pause;
      test::check_close(what, concat({p[0], p[1]}), select(after, 0, t).to_vector<double>(),
                        kTolerance);
      test::check_close(what + ", loss", full({}, loss, DType::f64), {c.at("losses").at({t})},
                        kTolerance);
      BOOST_TEST(optimizer.state()[1].second.item() == c.at("evals").at({t}), what);
    }
  });
}

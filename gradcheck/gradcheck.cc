#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/detail/checker.h>
#include <gradus/gradcheck/detail/warnings.h>
#include <gradus/gradcheck/gradcheck.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace gradus {

using namespace checking;

GradcheckReport gradcheck(const Function& f, std::span<const Tensor> inputs,
                          const GradcheckOptions& options) {
  check_inputs(inputs);
  return Checker(f, inputs, options, 1).run();
}

GradcheckReport gradgradcheck(const Function& f, std::span<const Tensor> inputs,
                              const GradcheckOptions& options) {
  check_inputs(inputs);
  Checker forward(f, inputs, options, 2);
  if (!forward.look_at_the_function()) return forward.finish();
  const Tensor y = forward.y();
  Generator generator(options.seed, "dy");
  std::vector<Tensor> all(inputs.begin(), inputs.end());
  all.push_back(uniform(y.shape(), -1, 1, generator, y.dtype()));
  all.back().set_requires_grad().set_name("dy");
  const auto gradients = [&](Tape& tape, std::span<const Tensor> x, CreateGraph create_graph) {
    const std::span<const Tensor> in = x.first(inputs.size());
    const Tensor result = f(in);
    check(result.tape() == tape.serial() || result.requires_grad(),
          "gradgradcheck: no path: the result {} does not depend on any input through recorded "
          "operations",
          result.shape());
    return tape.gradient(result, in,
                         {.create_graph = create_graph, .dy = x.back(), .allow_unused = true});
  };
  const Function gradient_of_f = [&](std::span<const Tensor> x) {
    // On the caller's tape if there is one, so that it can be differentiated; else on its own.
    std::optional<Tape> own;
    Tape& tape = detail::recorder ? *detail::recorder : own.emplace();
    std::vector<Tensor> parts;
    for (const Tensor& dx : gradients(tape, x, CreateGraph::yes))
      if (dx) parts.push_back(flatten(dx));
    check(!parts.empty(), "gradgradcheck: no path: the result {} does not depend on any input",
          y.shape());
    return concat(parts);
  };
  Checker checker(gradient_of_f, all, options, 2);
  {
    const Tape tape;
    forward.evaluate().recorded();
    forward.evaluate().restore();
    checker.add_warnings(setup_warnings(inputs, tape));
  }
  const auto once = [&](CreateGraph create_graph) {
    const Tape tape;
    std::vector<Tensor> dx = gradients(*detail::recorder, all, create_graph);
    forward.evaluate().restore();
    return dx;
  };
  const std::vector<Tensor> recorded = once(CreateGraph::yes), plain = once(CreateGraph::no);
  double largest = 0;
  for (const Tensor& dx : plain)
    if (dx)
      for (double value : dx.to_vector<double>()) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!recorded[i] || !plain[i]) continue;
    const std::string difference = describe_difference(recorded[i], plain[i], 1e-9 * largest);
    if (!difference.empty())
      checker.add_fault(fmt::format("the gradient of {} is another one when it records itself: {}",
                                    input_name(inputs[i], i), difference));
  }
  return checker.run();
}

}  // namespace gradus

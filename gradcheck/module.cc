#include <gradus/gradcheck/detail/evaluation.h>
#include <gradus/gradcheck/module.h>
#include <gradus/gradcheck/samples.h>

#include <algorithm>
#include <set>

namespace gradus {

namespace {

/// The module and all below it.
class AllModules : public Visitor {
 public:
  explicit AllModules(Module& module) {
    modules.push_back(&module);
    module.visit(*this);
  }
  std::vector<Module*> modules;

 protected:
  void on_module(std::string_view, Module& module) override {
    modules.push_back(&module);
    module.visit(*this);
  }
};

/// A module in f64 for a while; then everything is as it was, bit for bit, whatever happened
/// between: that asks for no memory, since the old elements were kept, not converted back.
class InDouble {
 public:
  explicit InDouble(Module& module) {
    for (const auto& [path, tensor] : module.state()) {
      const Tensor view =
          as_strided(tensor, tensor.shape(),
                     std::span(tensor.strides(), static_cast<size_t>(tensor.ndim())), 0);
      saved_.push_back({tensor, view, tensor.grad()});
    }
    for (Module* m : AllModules(module).modules) training_.emplace_back(m, m->training());
    module.to(DType::f64);
  }
  ~InDouble() {
    for (Saved& s : saved_) {
      if (!holds(s.tensor, s.values)) s.tensor.set_data(s.values);
      s.tensor.set_grad(s.grad);
    }
    for (const auto& [module, training] : training_) module->set_training(training);
  }
  InDouble(const InDouble&) = delete;
  InDouble& operator=(const InDouble&) = delete;

 private:
  struct Saved {
    Tensor tensor, values, grad;
  };
  static bool holds(const Tensor& tensor, const Tensor& values) {
    return tensor.shares_storage(values) && tensor.shape() == values.shape() &&
           tensor.dtype() == values.dtype();
  }
  std::vector<Saved> saved_;
  std::vector<std::pair<Module*, bool>> training_;
};

/// The ops that f records whose own samples disagree.
std::vector<std::string> failing_ops(const Function& f, std::span<const Tensor> inputs,
                                     std::span<const Tensor> buffers) {
  std::set<std::string> names;
  {
    const checking::StateGuard guard(buffers);
    const Tape tape;
    f(inputs);
    for (uint32_t i = 0; i < tape.size(); ++i) names.insert(tape.info(i).op);
  }
  std::vector<std::string> failing;
  for (const std::string& name : names) {
    const std::vector<OpSample> samples = op_samples(name);
    if (std::any_of(samples.begin(), samples.end(),
                    [](const OpSample& s) { return gradcheck(s.f, s.inputs).disagreeing > 0; }))
      failing.push_back(name);
  }
  return failing;
}

using Check = GradcheckReport (*)(const Function&, std::span<const Tensor>,
                                  const GradcheckOptions&);

GradcheckReport check_module(Check run, Module& module, const Function& forward,
                             std::span<const Tensor> inputs, GradcheckOptions options) {
  const InDouble in_double(module);
  std::vector<Tensor> checked, arguments(inputs.begin(), inputs.end());
  std::vector<size_t> floating;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i] || !is_floating(inputs[i].dtype())) continue;
    Tensor x = raw::clone(raw::cast(inputs[i], DType::f64)).set_requires_grad();
    x.set_name(inputs[i].name().empty() ? fmt::format("input {}", i) : inputs[i].name());
    checked.push_back(x);
    floating.push_back(i);
  }
  for (const Tensor& parameter : module.parameters())
    if (parameter.requires_grad()) checked.push_back(parameter);
  for (const auto& [path, buffer] : module.named_buffers()) options.buffers.push_back(buffer);
  if (options.subject.empty()) options.subject = module.describe();
  const Function f = [&](std::span<const Tensor> x) {
    for (size_t i = 0; i < floating.size(); ++i) arguments[floating[i]] = x[i];
    return forward(arguments);
  };
  GradcheckReport report = run(f, checked, options);
  const std::string plain = "(f, inputs";
  const size_t at = report.reproduce.find(plain);
  if (options.reproduce.empty() && at != std::string::npos)
    report.reproduce.replace(at, plain.size(), "(module, forward, inputs");
  if (report.disagreeing > 0) report.suspects = failing_ops(f, checked, options.buffers);
  return report;
}

Function forward_of(UnaryModule& module, std::span<const Tensor> x) {
  check(x.size() == 1, "gradcheck: {} inputs for {}, which takes one", x.size(), module.describe());
  return [&module](std::span<const Tensor> in) { return module.forward(in[0]); };
}

}  // namespace

GradcheckReport gradcheck(Module& module, const Function& forward, std::span<const Tensor> inputs,
                          const GradcheckOptions& options) {
  return check_module(gradcheck, module, forward, inputs, options);
}
GradcheckReport gradgradcheck(Module& module, const Function& forward,
                              std::span<const Tensor> inputs, const GradcheckOptions& options) {
  return check_module(gradgradcheck, module, forward, inputs, options);
}
GradcheckReport gradcheck(UnaryModule& module, const Tensor& x, const GradcheckOptions& options) {
  return gradcheck(module, std::span(&x, 1), options);
}
GradcheckReport gradgradcheck(UnaryModule& module, const Tensor& x,
                              const GradcheckOptions& options) {
  return gradgradcheck(module, std::span(&x, 1), options);
}
GradcheckReport gradcheck(UnaryModule& module, std::span<const Tensor> x,
                          const GradcheckOptions& options) {
  return gradcheck(module, forward_of(module, x), x, options);
}
GradcheckReport gradgradcheck(UnaryModule& module, std::span<const Tensor> x,
                              const GradcheckOptions& options) {
  return gradgradcheck(module, forward_of(module, x), x, options);
}

}  // namespace gradus

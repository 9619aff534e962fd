#pragma once
#include <gradus/autograd/gradcheck.h>
#include <gradus/layers/module.h>

#include <memory>

namespace gradus {

// Checks of modules: by their inputs and by every parameter that requires a gradient, in f64 even
// if the module is f32. Afterwards parameters, their .grad, buffers and training() are as before.
// Inputs that are not floating (indices, masks) are passed on as they are.

GradcheckReport gradcheck(Module& module, const Function& forward, std::span<const Tensor> inputs,
                          const GradcheckOptions& options = {});
GradcheckReport gradgradcheck(Module& module, const Function& forward,
                              std::span<const Tensor> inputs, const GradcheckOptions& options = {});

/// Of forward(x).
GradcheckReport gradcheck(UnaryModule& module, const Tensor& x,
                          const GradcheckOptions& options = {});
GradcheckReport gradgradcheck(UnaryModule& module, const Tensor& x,
                              const GradcheckOptions& options = {});
// So that a module is not taken for a mere function of its inputs, its parameters left out.
GradcheckReport gradcheck(UnaryModule& module, std::span<const Tensor> x,
                          const GradcheckOptions& options = {});
GradcheckReport gradgradcheck(UnaryModule& module, std::span<const Tensor> x,
                              const GradcheckOptions& options = {});
inline GradcheckReport gradcheck(UnaryModule& module, std::initializer_list<Tensor> x,
                                 const GradcheckOptions& options = {}) {
  return gradcheck(module, std::span(x.begin(), x.size()), options);
}
inline GradcheckReport gradgradcheck(UnaryModule& module, std::initializer_list<Tensor> x,
                                     const GradcheckOptions& options = {}) {
  return gradgradcheck(module, std::span(x.begin(), x.size()), options);
}
GradcheckReport gradcheck(Module& module, std::span<const Tensor> inputs,
                          const GradcheckOptions& options = {}) = delete;  // say what forward is
GradcheckReport gradgradcheck(Module& module, std::span<const Tensor> inputs,
                              const GradcheckOptions& options = {}) = delete;

/// A small module and inputs for it.
struct ModuleSample {
  std::string label;
  std::shared_ptr<Module> module;
  std::vector<Tensor> inputs;
  Function forward;
};

/// One row for each module, at namespace scope beside its functions:
///
///   ModuleRow linear_row("Linear", [] {
///     return std::vector{module_sample("(4, 5)", Linear(5, 3), {sample({4, 5}, 1)})};
///   });
///
/// Constructing it enters it in the list that `gradus gradcheck` and the tests read.
struct ModuleRow {
  using SamplesFunction = std::vector<ModuleSample> (*)();
  ModuleRow(const char* name, SamplesFunction samples);
  ModuleRow(const ModuleRow&) = delete;
  ModuleRow& operator=(const ModuleRow&) = delete;

  const char* name;
  SamplesFunction samples;
  ModuleRow* next;
};

/// Every module of the program, sorted by name.
std::vector<const ModuleRow*> all_module_rows();

/// f64, with parameters and floating buffers that no mistake hides behind: none is 0 or 1.
void fill_for_check(Module& module);

/// A module whose forward(M&, span of inputs) gives a tensor.
template <std::derived_from<Module> M, class Forward>
ModuleSample module_sample(std::string label, M module, std::vector<Tensor> inputs,
                           Forward forward) {
  const auto owned = std::make_shared<M>(std::move(module));
  fill_for_check(*owned);
  return {std::move(label), owned, std::move(inputs),
          [owned, forward](std::span<const Tensor> x) { return forward(*owned, x); }};
}

/// One whose forward takes one tensor.
template <std::derived_from<UnaryModule> M>
ModuleSample module_sample(std::string label, M module, const Tensor& x) {
  return module_sample(std::move(label), std::move(module), std::vector{x},
                       [](M& m, std::span<const Tensor> in) { return m.forward(in[0]); });
}

}  // namespace gradus

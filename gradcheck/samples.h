#pragma once
#include <gradus/autograd/functional/function.h>
#include <gradus/autograd/op.h>
#include <gradus/layers/module.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

// Small inputs with which ops and modules are checked. Those of Gradus' own stand in samples/,
// which `gradus gradcheck` and the tests link; a user's stand beside the op or module that they are
// for.
namespace gradus {

/// A leaf of f64 values spread evenly at random over [low, high), the same for the same seed.
Tensor sample(const Shape& shape, uint64_t seed, double low = -2, double high = 2);

/// A function of f64 tensors that goes through an op.
struct OpSample {
  std::string label;                                 ///< what is special about it
  std::vector<Tensor> inputs;                        ///< off the kinks
  std::function<Tensor(std::span<const Tensor>)> f;  ///< of the inputs
};

/// An op's samples, at namespace scope:
///
///   OpSamples mul_samples("mul", [] { return std::vector<OpSample>{...}; });
///
/// Constructing it enters it in the list that `gradus gradcheck` and the tests read.
struct OpSamples {
  using Make = std::vector<OpSample> (*)();  ///< makes them when they are asked for
  /// `op` is the op's name, and must outlive it.
  OpSamples(const char* op, Make make);
  OpSamples(const OpSamples&) = delete;
  OpSamples& operator=(const OpSamples&) = delete;

  const char* name;       ///< the op's name
  Make make;              ///< makes them
  const OpSamples* next;  ///< in the list
};

/// Every row of samples, sorted by its op's name.
std::vector<const OpSamples*> all_op_samples();
/// The samples of the op of this name; none where it has none.
std::vector<OpSample> op_samples(std::string_view op);

/// A module and inputs for it.
struct ModuleSample {
  std::string label;               ///< what is special about it
  std::shared_ptr<Module> module;  ///< in f64, its parameters neither 0 nor 1
  std::vector<Tensor> inputs;      ///< off the kinks
  Function forward;                ///< of the module, by the inputs
};

/// A module's samples, at namespace scope:
///
///   ModuleSamples linear_samples("Linear", [] {
///     return std::vector{module_sample("(4, 5)", Linear(5, 3), {sample({4, 5}, 1)})};
///   });
///
/// Constructing it enters it in the list that `gradus gradcheck` and the tests read.
struct ModuleSamples {
  using Make = std::vector<ModuleSample> (*)();  ///< makes them when they are asked for
  /// `module` is the class' name, and must outlive it.
  ModuleSamples(const char* module, Make make);
  ModuleSamples(const ModuleSamples&) = delete;
  ModuleSamples& operator=(const ModuleSamples&) = delete;

  const char* name;           ///< the class' name
  Make make;                  ///< makes them
  const ModuleSamples* next;  ///< in the list
};

/// Every module's that has some, sorted by name.
std::vector<const ModuleSamples*> all_module_samples();

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

#pragma once
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/layers/module.h>

namespace gradus {

/// Checks `forward` of a module by its inputs and by every parameter that requires a gradient, in
/// f64 even if the module is f32. Afterwards parameters, their .grad, buffers and training() are as
/// before. Inputs that are not floating (indices, masks) are passed on as they are.
GradcheckReport gradcheck(Module& module, const Function& forward, std::span<const Tensor> inputs,
                          const GradcheckOptions& options = {});
GradcheckReport gradgradcheck(Module& module, const Function& forward,
                              std::span<const Tensor> inputs, const GradcheckOptions& options = {});

/// Of forward(x).
GradcheckReport gradcheck(UnaryModule& module, const Tensor& x,
                          const GradcheckOptions& options = {});
GradcheckReport gradgradcheck(UnaryModule& module, const Tensor& x,
                              const GradcheckOptions& options = {});
/// Of forward(x[0]): a module is not taken for a mere function of its inputs, its parameters left
/// out.
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

}  // namespace gradus

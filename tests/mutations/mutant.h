#pragma once
#include <gradus/autograd/functional/function.h>
#include <gradus/autograd/op.h>
#include <gradus/gradcheck/diagnosis.h>
#include <gradus/tensor/random.h>

#include <functional>
#include <string>
#include <vector>

namespace gradus::mutations {

/// A function to check, and the leaves to check it by, each with a name.
struct Trial {
  std::vector<Tensor> inputs;
  Function f;
};

/// A wrong backward pass, to stand in an op's row in the place of its own.
struct Mutant {
  std::string family, op;
  std::string what;
  Op::BackwardFunction backward;
  std::function<Trial(uint64_t seed)> trial;
  /// The inputs whose gradient it gets wrong.
  std::vector<std::string> wrong;
  /// Its cause, by the checker's name for it: one for each kind of mistake, after what was done and
  /// not after what the checker makes of it. none: its list has no name for this.
  Pattern pattern = Pattern::none;
};

/// Every mutant, one list a family of ops.
std::vector<Mutant> elementwise_mutants();
std::vector<Mutant> shape_mutants();
std::vector<Mutant> product_mutants();
std::vector<Mutant> norm_mutants();
std::vector<Mutant> loss_mutants();
std::vector<Mutant> layer_mutants();
std::vector<Mutant> recurrent_mutants();
std::vector<Mutant> all_mutants();

/// While one lives, its mutant's op runs the wrong backward pass. One at a time.
class Mutated {
 public:
  explicit Mutated(const Mutant& mutant);
  ~Mutated();
  Mutated(const Mutated&) = delete;
  Mutated& operator=(const Mutated&) = delete;
};

// For wrong backward passes:

/// Runs the op's own backward pass.
void right_backward(Backward& ctx);
/// The right gradients of f, a function that goes through the op, at values that it kept.
std::vector<Tensor> right(const Function& f, const std::vector<Tensor>& xs, const Tensor& dy);
/// A copy whose elements can be changed, and where they are.
Tensor copy_of(const Tensor& x);
double* values(Tensor& x);
/// A copy of dx with element k times a factor.
Tensor with_entry(const Tensor& dx, int64_t k, double factor);

// For trials:

/// A leaf of independent normals, drawn by seed and name.
Tensor normal(const Shape& shape, uint64_t seed, const char* name, double mean = 0,
              double deviation = 1);
/// A leaf spread evenly over [low, high).
Tensor between(double low, double high, const Shape& shape, uint64_t seed, const char* name);

/// f of normals x, or of a and b, or of x, weight and bias.
std::function<Trial(uint64_t)> of_x(const Shape& shape, Function f);
std::function<Trial(uint64_t)> of_ab(const Shape& a, const Shape& b, Function f);
std::function<Trial(uint64_t)> of_layer(const Shape& x, const Shape& weight, const Shape& bias,
                                        Function f);

}  // namespace gradus::mutations

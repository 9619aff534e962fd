#pragma once
#include <gradus/gradus.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace gradus::samples {

using Json = nlohmann::ordered_json;

/// What Gradus does not take, in a sentence.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A sample of dump.py, whose arguments are asked for by their place or their name. What nobody
/// asked for has not been taken over.
class Sample {
 public:
  Sample(const Json& sample, const std::map<std::string, Tensor>& tensors);

  DType dtype() const;
  /// Whether PyTorch was given this one, and not none.
  bool has(size_t place, const char* name);
  /// An empty handle where it was not given.
  Tensor tensor(size_t place, const char* name = "");
  bool is_tensor(size_t place, const char* name = "");
  double number(size_t place, const char* name, double otherwise);
  double number(size_t place, const char* name);
  int64_t integer(size_t place, const char* name, int64_t otherwise);
  int64_t integer(size_t place, const char* name);
  bool flag(size_t place, const char* name, bool otherwise);
  std::string text(size_t place, const char* name, const std::string& otherwise);
  std::optional<DType> dtype_of(size_t place, const char* name);
  /// One number or a list of them.
  std::vector<int64_t> integers(size_t place, const char* name);
  /// A list, or whatever integers follow from that place on: view(2, 3) and view((2, 3)).
  Shape shape(size_t place, const char* name);
  /// One number for both, or two.
  Pair pair(size_t place, const char* name, int64_t otherwise);
  TensorList tensors(size_t place, const char* name);
  /// It is there, and what it says changes nothing here.
  void ignore(size_t place, const char* name);
  size_t count() const { return sample_["args"].size(); }
  const Json* given(size_t place, const char* name);

  /// Of a module, whose constructor's arguments are among those by name: its mode.
  bool training() const { return sample_.value("training", false); }
  /// Loads the state of PyTorch's module, by its names or `renamed` ones.
  void load(Module& module, const std::function<std::string(std::string)>& renamed = {});

  /// What was given and nobody asked for; "" if there is nothing.
  std::string unasked() const;
  const Json& json() const { return sample_; }
  Tensor decoded(const Json& value) const;
  const std::vector<Tensor>& leaves() const { return leaves_; }

 private:
  void find_leaves(const Json& value);
  const Json& required(size_t place, const char* name);
  const Json& sample_;
  const std::map<std::string, Tensor>& tensors_;
  std::map<std::string, Tensor> made_;  // leaves by their names
  std::vector<Tensor> leaves_;
  std::set<std::string> asked_;
};

/// What Gradus has for a name of PyTorch's: the results.
using Call = std::function<TensorList(Sample&)>;
const std::map<std::string, Call>& op_calls();
const std::map<std::string, Call>& module_calls();

}  // namespace gradus::samples

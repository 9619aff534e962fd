#define BOOST_TEST_MODULE weights
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/embedding.h>
#include <gradus/layers/linear.h>
#include <gradus/tensor/random.h>
#include <gradus/tensor/tensor_file.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "tests/checks.h"

// A model of PyTorch's comes here and goes back: pytorch_weights.py made the files, and has the
// same model.
using namespace gradus;

namespace {

class Model : public UnaryModule {
 public:
  Tensor forward(const Tensor& ids) override {
    const Tensor x = permute(embedding(ids), {0, 3, 1, 2});
    return head(mean(narrow(relu(norm(conv(x)))), {2, 3}));
  }
  void visit(Visitor& visitor) override {
    visitor.module("embedding", embedding);
    visitor.module("conv", conv);
    visitor.module("norm", norm);
    visitor.module("narrow", narrow);
    visitor.module("head", head);
  }
  std::string describe() const override { return "Model"; }

  Embedding embedding{7, 3};
  Conv2d conv{3, 4, 3, {.stride = 2, .padding = 1}};
  BatchNorm norm{4};
  Conv2d narrow{4, 4, 1, {.groups = 2, .bias = false}};
  Linear head{4, 5};
};

std::map<std::string, Tensor> file(const std::string& name) {
  const NamedTensors all =
      load_tensors(std::string(GRADUS_REFERENCE_DIR "/weights/") + name + ".safetensors");
  return {all.begin(), all.end()};
}

std::string path(const std::string& name) {
  return std::string(GRADUS_REFERENCE_DIR "/weights/") + name + ".safetensors";
}

void check_outputs(Model& model, const std::string& what, const Tensor& expected) {
  model.eval();
  test::check_close(what, model(file("outputs").at("ids")), expected.to_vector<double>(), 1e-5);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_state_of_pytorch_gives_its_outputs) {
  const std::map<std::string, Tensor> outputs = file("outputs");
  Model model;
  model.load(path("state"));
  check_outputs(model, "state", outputs.at("outputs"));
  for (const char* name : {"f16", "bf16"}) {  // which become f32 as they are read
    Model half;
    half.load(path(name));
    check_outputs(half, name, outputs.at(name));
  }
  Model from_f64;
  BOOST_CHECK_THROW(from_f64.load(path("f64")), Error);
  from_f64.load(path("f64"), {.cast = true});
  check_outputs(from_f64, "f64", outputs.at("outputs"));
  Model plain;
  plain.load(path("plain"), {.prefix = "model."});
  check_outputs(plain, "plain", outputs.at("outputs"));
  BOOST_TEST(plain.norm.num_batches_tracked.item() == 0);
  BOOST_TEST(model.norm.num_batches_tracked.item() == 10);
}

BOOST_AUTO_TEST_CASE(a_state_goes_back) {
  const std::string saved = "test_weights_" + std::to_string(::getpid()) + ".safetensors";
  Model model;
  model.load(path("state"));
  model.save(saved);  // names, shapes, dtypes and bits are PyTorch's
  const std::map<std::string, Tensor> theirs = file("state");
  const NamedTensors ours = load_tensors(saved);
  BOOST_TEST(ours.size() == theirs.size());
  for (const auto& [name, x] : ours) {
    BOOST_TEST_REQUIRE(theirs.contains(name), name);
    const Tensor& y = theirs.at(name);
    BOOST_TEST((x.shape() == y.shape() && x.dtype() == y.dtype()), name);
    BOOST_TEST(x.to_vector<double>() == y.to_vector<double>(), name);
  }
  // A state of our own, if PyTorch is there to judge it.
  const std::string script = GRADUS_REFERENCE_DIR "/pytorch_weights.py";
  const char* const given = std::getenv("GRADUS_PYTHON");
  const std::string python = given ? given : "python3";
  if (std::system((python + " -c 'import torch, safetensors.torch' 2>/dev/null").c_str()) == 0) {
    Model own;
    for (int i = 0; i < 3; ++i) own(randint(0, 7, {8, 6, 5}));
    own.eval();
    NamedTensors state = own.state();
    const Tensor ids = file("outputs").at("ids");
    state.emplace_back("ids", ids);
    state.emplace_back("outputs", own(ids));
    save_tensors(saved, state);
    BOOST_TEST(std::system((python + " '" + script + "' check '" + saved + "'").c_str()) == 0);
  } else {
    BOOST_TEST_MESSAGE("no PyTorch is there to read what was saved");
  }
  std::filesystem::remove(saved);
}

BOOST_AUTO_TEST_CASE(every_type_of_elements) {
  const std::map<std::string, Tensor> loaded = file("types"), expected = file("types_loaded");
  BOOST_TEST(loaded.size() == 10u);
  for (const auto& [name, x] : loaded) {
    const Tensor& y = expected.at(name);
    BOOST_TEST((x.dtype() == y.dtype()), name);
    const bool integers = x.dtype() == DType::i64;
    if (integers) BOOST_TEST(x.to_vector<int64_t>() == y.to_vector<int64_t>(), name);
    for (int64_t i = 0; !integers && i < x.numel(); ++i)
      BOOST_TEST((x.at({i}) == y.at({i}) || (std::isnan(x.at({i})) && std::isnan(y.at({i})))),
                 name << " " << i);
  }
}

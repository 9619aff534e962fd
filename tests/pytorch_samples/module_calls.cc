#include "tests/pytorch_samples/sample.h"

namespace gradus::samples {

namespace {

constexpr size_t kByName = 99;  // no argument stands at that place

/// A module without parameters, which does what a function does.
Call as_function(const char* name) {
  return [name](Sample& s) -> TensorList {
    s.ignore(kByName, "inplace");
    return op_calls().at(name)(s);
  };
}

/// The module of its options, with PyTorch's parameters, called with one tensor.
template <class Make>
Call module_of(Make make) {
  return [make](Sample& s) -> TensorList {
    auto module = make(s);
    s.load(module);
    return {module(s.tensor(0))};
  };
}

BatchNorm batch_norm_of(Sample& s) {
  BatchNormLayerOptions o;
  o.eps = s.number(kByName, "eps", 1e-5);
  s.ignore(kByName, "momentum");
  o.affine = s.flag(kByName, "affine", true);
  o.track_running_stats = s.flag(kByName, "track_running_stats", true);
  return BatchNorm(s.integer(kByName, "num_features"), o);
}

Tensor batched(const Tensor& x) {
  if (x.ndim() == 1) throw Refused("unbatched: a vector");
  return x;
}

/// Cells, whose states follow the input.
template <class Cell>
TensorList run_cell(Sample& s) {
  typename Cell::Options o;
  o.bias = s.flag(kByName, "bias", true);
  if constexpr (std::is_same_v<Cell, RnnCell>)
    if (s.text(kByName, "nonlinearity", "tanh") == "relu") o.nonlinearity = Nonlinearity::relu;
  Cell cell(s.integer(kByName, "input_size"), s.integer(kByName, "hidden_size"), o);
  s.load(cell);
  const Tensor x = batched(s.tensor(0));
  if constexpr (std::is_same_v<Cell, LstmCell>) {
    const TensorList both = s.tensors(1, "hx");
    const CellState next = cell(x, both.empty() ? CellState() : CellState(both[0], both[1]));
    return {next.h, next.c};
  } else {
    return {cell(x, s.tensor(1, "hx"))};
  }
}

}  // namespace

const std::map<std::string, Call>& module_calls() {
  static const std::map<std::string, Call> calls = [] {
    std::map<std::string, Call> all;
    for (const auto& [name, function] : std::initializer_list<std::pair<const char*, const char*>>{
             {"AdaptiveAvgPool2d", "adaptive_avg_pool2d"},
             {"AvgPool1d", "avg_pool1d"},
             {"AvgPool2d", "avg_pool2d"},
             {"BCELoss", "binary_cross_entropy"},
             {"BCEWithLogitsLoss", "binary_cross_entropy_with_logits"},
             {"CosineEmbeddingLoss", "cosine_embedding_loss"},
             {"CrossEntropyLoss", "cross_entropy"},
             {"ELU", "elu"},
             {"GELU", "gelu"},
             {"GaussianNLLLoss", "gaussian_nll_loss"},
             {"Hardtanh", "hardtanh"},
             {"HuberLoss", "huber_loss"},
             {"KLDivLoss", "kl_div"},
             {"L1Loss", "l1_loss"},
             {"LeakyReLU", "leaky_relu"},
             {"MSELoss", "mse_loss"},
             {"MaxPool1d", "max_pool1d"},
             {"MaxPool2d", "max_pool2d"},
             {"NLLLoss", "nll_loss"},
             {"ReLU", "relu"},
             {"SiLU", "silu"},
             {"SmoothL1Loss", "smooth_l1_loss"},
             {"Softmin", "softmin"},
             {"Softplus", "softplus"}}) {
      const std::string functional = std::string("nn.functional.") + function;
      if (op_calls().contains(functional))
        all[std::string("nn.") + name] = as_function(op_calls().find(functional)->first.c_str());
    }
    for (const auto& [name, function] :
         std::initializer_list<std::pair<const char*, const char*>>{{"Sigmoid", "sigmoid"},
                                                                    {"Tanh", "tanh"},
                                                                    {"Softmax", "softmax"},
                                                                    {"LogSoftmax", "log_softmax"}})
      all[std::string("nn.") + name] = as_function(function);
    for (const char* name : {"nn.BatchNorm1d", "nn.BatchNorm2d", "nn.BatchNorm3d"})
      all[name] = module_of(batch_norm_of);
    all["nn.Linear"] = module_of([](Sample& s) {
      return Linear(s.integer(kByName, "in_features"), s.integer(kByName, "out_features"),
                    {.bias = s.flag(kByName, "bias", true)});
    });
    all["nn.LayerNorm"] = module_of([](Sample& s) {
      return LayerNorm(Shape(s.integers(kByName, "normalized_shape")),
                       {.eps = s.number(kByName, "eps", 1e-5),
                        .affine = s.flag(kByName, "elementwise_affine", true)});
    });
    all["nn.RMSNorm"] = module_of([](Sample& s) {
      RmsNormLayerOptions o;
      if (s.has(kByName, "eps")) o.eps = s.number(kByName, "eps");
      o.affine = s.flag(kByName, "elementwise_affine", true);
      return RmsNorm(Shape(s.integers(kByName, "normalized_shape")), o);
    });
    all["nn.GroupNorm"] = module_of([](Sample& s) {
      return GroupNorm(
          s.integer(kByName, "num_groups"), s.integer(kByName, "num_channels"),
          {.eps = s.number(kByName, "eps", 1e-5), .affine = s.flag(kByName, "affine", true)});
    });
    all["nn.RNNCell"] = run_cell<RnnCell>;
    all["nn.GRUCell"] = run_cell<GruCell>;
    all["nn.LSTMCell"] = run_cell<LstmCell>;
    return all;
  }();
  return calls;
}

}  // namespace gradus::samples

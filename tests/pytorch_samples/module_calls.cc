#include <cmath>

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

/// PyTorch's samples of recurrent nets and attention have no batch: one is put in at `axis`, and
/// taken away again.
Tensor with_batch(const Tensor& x, bool single, int64_t axis) {
  return single && x ? unsqueeze(x, axis) : x;
}
Tensor without_batch(const Tensor& y, bool single, int64_t axis) {
  return single ? squeeze(y, axis) : y;
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
  const bool single = s.tensor(0).ndim() == 1;
  const Tensor x = with_batch(s.tensor(0), single, 0);
  if constexpr (std::is_same_v<Cell, LstmCell>) {
    const TensorList both = s.tensors(1, "hx");
    const CellState next = cell(x, both.empty() ? CellState()
                                                : CellState(with_batch(both[0], single, 0),
                                                            with_batch(both[1], single, 0)));
    return {without_batch(next.h, single, 0), without_batch(next.c, single, 0)};
  } else {
    return {without_batch(cell(x, with_batch(s.tensor(1, "hx"), single, 0)), single, 0)};
  }
}

/// Rnn, Lstm, Gru; batch first or not, states with the layers first.
template <class Cell>
TensorList run_rnn(Sample& s) {
  RecurrentOptions<Cell> o;
  o.cell.bias = s.flag(kByName, "bias", true);
  if constexpr (std::is_same_v<Cell, RnnCell>)
    if (s.text(kByName, "nonlinearity", "tanh") == "relu") o.cell.nonlinearity = Nonlinearity::relu;
  o.num_layers = s.integer(kByName, "num_layers", 1);
  o.bidirectional = s.flag(kByName, "bidirectional", false);
  o.dropout = s.number(kByName, "dropout", 0);
  if (s.integer(kByName, "proj_size", 0) > 0)
    throw Refused("an LSTM whose state is projected (proj_size): a Linear behind each step");
  Recurrent<Cell> net(s.integer(kByName, "input_size"), s.integer(kByName, "hidden_size"), o);
  s.load(net);
  const bool unbatched = s.tensor(0).ndim() == 2;
  const bool batch_first = s.flag(kByName, "batch_first", false) && !unbatched;
  const Tensor x = with_batch(s.tensor(0), unbatched, 1);
  const bool one_pass = o.num_layers == 1 && !o.bidirectional;
  const auto state = [&](const Tensor& h) {  // (layers, N, H)
    const Tensor batched = with_batch(h, unbatched, 1);
    return one_pass && batched ? squeeze(batched, 0) : batched;
  };
  CellState first;
  if constexpr (std::is_same_v<Cell, LstmCell>) {
    const TensorList both = s.tensors(1, "hx");
    if (!both.empty()) first = {state(both[0]), state(both[1])};
  } else {
    first = {state(s.tensor(1, "hx"))};
  }
  const RnnOutput out = net(batch_first ? x : transpose(x, 0, 1), {}, first);
  const auto last = [&](const Tensor& h) {
    return without_batch(one_pass ? unsqueeze(h, 0) : h, unbatched, 1);
  };
  const Tensor y = batch_first ? out.y : transpose(out.y, 0, 1);
  TensorList results{without_batch(y, unbatched, 1), last(out.h)};
  if constexpr (std::is_same_v<Cell, LstmCell>) results.push_back(last(out.c));
  return results;
}

/// PyTorch's masks of modules hide where they are true.
Tensor may_look(const Tensor& mask) {
  return mask && mask.dtype() == DType::boolean ? logical_not(mask) : mask;
}

TensorList run_attention(Sample& s) {
  if (s.flag(kByName, "add_bias_kv", false) || s.flag(kByName, "add_zero_attn", false))
    throw Refused("keys and values that are added (add_bias_kv, add_zero_attn)");
  if (s.has(kByName, "kdim") || s.has(kByName, "vdim"))
    throw Refused("keys and values of other widths (kdim, vdim)");
  MultiHeadAttention attention(s.integer(kByName, "embed_dim"), s.integer(kByName, "num_heads"),
                               {.bias = s.flag(kByName, "bias", true)});
  s.load(attention);
  const bool single = s.tensor(0).ndim() == 2;
  const bool batch_first = s.flag(kByName, "batch_first", false) || single;
  const auto put = [&](const Tensor& x) {
    return batch_first ? with_batch(x, single, 0) : transpose(x, 0, 1);
  };
  const Tensor q = put(s.tensor(0)), k = put(s.tensor(1)), v = put(s.tensor(2));
  AttentionMask mask;
  mask.valid = may_look(with_batch(s.tensor(3, "key_padding_mask"), single, 0));
  mask.mask = may_look(s.tensor(5, "attn_mask"));
  const Tensor y = attention(q, k, v, mask);
  const Tensor back = batch_first ? without_batch(y, single, 0) : transpose(y, 0, 1);
  if (!s.flag(4, "need_weights", true)) return {back};
  // The weights, the mean over the heads, are what softmax makes of the projections.
  const int64_t heads = s.integer(kByName, "num_heads"), width = q.size(-1) / heads;
  const TensorList w = chunk(attention.in_proj_weight, 3);
  const TensorList b = attention.in_proj_bias ? chunk(attention.in_proj_bias, 3) : TensorList(3);
  const auto project = [&](const Tensor& x, size_t i) {
    return permute(reshape(linear(x, w[i], b[i]), {x.size(0), x.size(1), heads, width}),
                   {0, 2, 1, 3});
  };
  Tensor scores = matmul(project(q, 0), project(k, 1), false, true) / std::sqrt(width);
  const Tensor& seen = mask.mask;
  if (seen)
    scores = seen.dtype() == DType::boolean ? where(seen, scores, -INFINITY) : scores + seen;
  if (mask.valid) scores = where(unsqueeze(unsqueeze(mask.valid, 1), 1), scores, -INFINITY);
  return {back, without_batch(mean(softmax(scores), 1), single, 0)};
}

TensorList run_encoder_layer(Sample& s) {
  TransformerOptions o;
  o.dim = s.integer(kByName, "d_model");
  o.heads = s.integer(kByName, "nhead");
  o.mlp_dim = s.integer(kByName, "dim_feedforward", 2048);
  o.dropout = s.number(kByName, "dropout", 0.1);
  if (!s.flag(kByName, "bias", true)) throw Refused("a block without biases");
  s.ignore(kByName, "layer_norm_eps");
  o.norm_place = s.flag(kByName, "norm_first", false) ? NormPlace::before : NormPlace::after;
  if (const Json* f = s.given(kByName, "activation")) {
    const std::string text = f->dump();
    if (text.find("gelu") != text.npos) o.activation = MlpActivation::gelu;
  }
  EncoderBlock block(o);
  s.load(block);
  const Tensor src = s.tensor(0, "src");
  const bool single = src.ndim() == 2;
  const bool batch_first = s.flag(kByName, "batch_first", false) || single;
  const Tensor x = batch_first ? with_batch(src, single, 0) : transpose(src, 0, 1);
  AttentionMask mask;
  mask.mask = may_look(s.tensor(1, "src_mask"));
  mask.valid = may_look(with_batch(s.tensor(2, "src_key_padding_mask"), single, 0));
  const Tensor y = block(x, mask);
  return {batch_first ? without_batch(y, single, 0) : transpose(y, 0, 1)};
}

template <class Conv, class Options>
Call conv_of(bool one_axis) {
  return [=](Sample& s) -> TensorList {
    Options o;
    const Pair kernel = s.pair(kByName, "kernel_size", 1);
    const Json* words = s.given(kByName, "padding");
    const auto set = [&](auto& field, const char* name, int64_t otherwise) {
      const Pair pair = s.pair(kByName, name, otherwise);
      if constexpr (std::is_integral_v<std::remove_reference_t<decltype(field)>>)
        field = pair.w;
      else
        field = one_axis ? Pair(pair.w) : pair;
    };
    set(o.stride, "stride", 1);
    if (words && words->is_string()) {
      if constexpr (requires { o.padding = Padding::same(); })
        if (words->get<std::string>() == "same") o.padding = Padding::same();
    } else {
      set(o.padding, "padding", 0);
    }
    set(o.dilation, "dilation", 1);
    if constexpr (requires { o.output_padding; }) set(o.output_padding, "output_padding", 0);
    o.groups = s.integer(kByName, "groups", 1);
    o.bias = s.flag(kByName, "bias", true);
    if (s.text(kByName, "padding_mode", "zeros") != "zeros")
      throw Refused("a padding that is not of zeros: pad() before");
    const int64_t in = s.integer(kByName, "in_channels"), out = s.integer(kByName, "out_channels");
    auto conv = [&] {
      if constexpr (std::is_constructible_v<Conv, int64_t, int64_t, Pair, Options> &&
                    !std::is_same_v<Conv, Conv1d> && !std::is_same_v<Conv, ConvTranspose1d>)
        return Conv(in, out, kernel, o);
      else
        return Conv(in, out, kernel.w, o);
    }();
    s.load(conv);
    return {conv(s.tensor(0))};
  };
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
    all["nn.Embedding"] = [](Sample& s) -> TensorList {
      Embedding embedding(s.integer(kByName, "num_embeddings"),
                          s.integer(kByName, "embedding_dim"));
      s.load(embedding);
      return {embedding(s.tensor(0))};
    };
    all["nn.RNN"] = run_rnn<RnnCell>;
    all["nn.GRU"] = run_rnn<GruCell>;
    all["nn.LSTM"] = run_rnn<LstmCell>;
    all["nn.MultiheadAttention"] = run_attention;
    all["nn.TransformerEncoderLayer"] = run_encoder_layer;
    all["nn.Conv1d"] = conv_of<Conv1d, Conv1dLayerOptions>(true);
    all["nn.Conv2d"] = conv_of<Conv2d, Conv2dLayerOptions>(false);
    all["nn.ConvTranspose1d"] = conv_of<ConvTranspose1d, ConvTranspose1dLayerOptions>(true);
    all["nn.ConvTranspose2d"] = conv_of<ConvTranspose2d, ConvTranspose2dLayerOptions>(false);
    all["nn.RNNCell"] = run_cell<RnnCell>;
    all["nn.GRUCell"] = run_cell<GruCell>;
    all["nn.LSTMCell"] = run_cell<LstmCell>;
    return all;
  }();
  return calls;
}

}  // namespace gradus::samples

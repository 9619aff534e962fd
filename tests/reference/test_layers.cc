#define BOOST_TEST_MODULE reference_layers
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/attention.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/conv_transpose.h>
#include <gradus/layers/dropout.h>
#include <gradus/layers/embedding.h>
#include <gradus/layers/flatten.h>
#include <gradus/layers/group_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/lengths.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/pool.h>
#include <gradus/layers/rms_norm.h>
#include <gradus/layers/rnn.h>
#include <gradus/layers/sequential.h>
#include <gradus/layers/upsample.h>
#include <gradus/models/autoencoder.h>
#include <gradus/models/cnn.h>
#include <gradus/models/language_model.h>
#include <gradus/models/mlp.h>
#include <gradus/models/rnn_classifier.h>
#include <gradus/models/transformer.h>

#include <functional>
#include <set>
#include <typeindex>

#include "tests/reference/reference.h"

using namespace gradus;
using namespace gradus::test;

namespace {

using X = const std::vector<Tensor>&;  // a case's x0, x1, ...
using Results = std::vector<Tensor>;

AnyNorm over_steps(int64_t features) { return BatchNorm(features, {.channels_last = true}); }
AnyNorm over_features(int64_t features) { return LayerNorm(features); }

// Up to fifty steps one after the other, through norms that divide. The largest difference found is
// 60 roundings, in a gradient that sums up those of five steps in time.
constexpr int kRoundings = 256;

/// The module's state, its results and all gradients are PyTorch's, and its buffers afterwards.
void check_case(const Case& c, DType dtype, Module& module,
                const std::function<Results(X)>& forward) {
  const auto compare = [&](const std::string& key, const Tensor& y, const std::string& expected) {
    check_same(fmt::format("{}, {}: {}", c.name, name(dtype), key), y, c.at(expected), dtype,
               kRoundings);
  };
  module.to(DType::f64);
  module.load_state(c.named("state"));
  module.to(dtype);
  std::vector<Tensor> inputs;
  for (const auto& [i, x] : c.numbered("x")) {
    inputs.push_back(in(dtype, x));
    if (c.has(fmt::format("dx{}", i))) inputs.back().set_requires_grad();
  }
  Tape tape;
  const Results ys = forward(inputs);
  BOOST_TEST_REQUIRE(ys.size() == c.numbered("y").size());
  Tensor loss = zeros({}, dtype);
  for (size_t i = 0; i < ys.size(); ++i) {
    compare(fmt::format("y{}", i), ys[i], fmt::format("y{}", i));
    loss = loss + sum(ys[i] * in(dtype, c.at(fmt::format("dy{}", i))));
  }
  tape.backward(loss);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].requires_grad())
      compare(fmt::format("dx{}", i), inputs[i].grad(), fmt::format("dx{}", i));
  for (const auto& [path, parameter] : module.named_parameters())
    compare("gradient of " + path, parameter.grad(), "d." + path);
  for (const auto& [path, buffer] : module.named_buffers())
    compare(path + " afterwards", buffer, "after." + path);
}

struct Row {
  std::string name;
  std::type_index type;  // of the module
  std::function<void(const Case&, DType)> check;
};

/// run(module, inputs): a result or several.
template <class M, class F>
Row row(std::string name, M module, F run) {
  return {std::move(name), typeid(M), [module, run](const Case& c, DType dtype) {
            M copy = module;
            check_case(c, dtype, copy, [&](X x) -> Results {
              if constexpr (std::is_same_v<std::invoke_result_t<F, M&, X>, Tensor>)
                return {run(copy, x)};
              else
                return run(copy, x);
            });
          }};
}

Tensor optional(X x, size_t i) { return i < x.size() ? x[i] : Tensor(); }

const auto call = [](auto& module, X x) { return module(x[0]); };
const auto call_with_second = [](auto& module, X x) { return module(x[0], optional(x, 1)); };

const auto train_then_evaluate = [](auto& module, X x) {
  Results ys;
  for (size_t i = 0; i + 1 < x.size(); ++i) ys.push_back(module(x[i]));
  module.eval();
  ys.push_back(module(x.back()));
  return ys;
};

const auto run_rnn = [](auto& rnn, X x) {
  const RnnOutput out = rnn(x[0], optional(x, 1), {optional(x, 2), optional(x, 3)});
  return out.c ? Results{out.y, out.h, out.c} : Results{out.y, out.h};
};

const auto run_lstm_cell = [](LstmCell& cell, X x) {
  const CellState state = cell(x[0], {optional(x, 1), optional(x, 2)});
  return Results{state.h, state.c};
};

const auto run_block = [](EncoderBlock& block, X x) {
  const Tensor valid = optional(x, 1), y = block(x[0], {.valid = valid});
  return valid ? clear_padding(y, valid) : y;
};

BatchNorm frozen(BatchNorm norm) {
  norm.freeze_statistics();
  return norm;
}

template <class M>
M evaluating(M module) {
  module.eval();
  return module;
}

/// Convolutions, poolings, images of another size, and some more.
std::vector<Row> window_rows() {
  return {
      row("Conv2d.same", Conv2d(2, 3, {3, 2}, {.padding = Padding::same()}), call),
      row("Conv1d", Conv1d(2, 3, 3, {.stride = 2, .padding = 1}), call),
      row("Conv1d.same",
          Conv1d(2, 4, 4, {.padding = Padding::same(), .dilation = 2, .groups = 2, .bias = false}),
          call),
      row("ConvTranspose2d",
          ConvTranspose2d(3, 2, {3, 2}, {.stride = {2, 1}, .padding = 1, .output_padding = {1, 0}}),
          call),
      row("ConvTranspose2d.groups",
          ConvTranspose2d(4, 6, 2, {.dilation = 2, .groups = 2, .bias = false}), call),
      row("ConvTranspose1d",
          ConvTranspose1d(3, 2, 3, {.stride = 2, .padding = 1, .output_padding = 1}), call),
      row("MaxPool1d", MaxPool1d(3, {.stride = 2, .padding = 1}), call),
      row("AvgPool1d", AvgPool1d(2), call),
      row("AdaptiveAvgPool1d", AdaptiveAvgPool1d(3), call),
      row("Embedding.padding", Embedding(4, 3, {.padding_idx = -1}), call),
      row("Softmax", Softmax(1), call),
      row("LogSoftmax", LogSoftmax(), call),
      row("Upsample", Upsample({.scale = 2}), call),
      row("Upsample.bilinear", Upsample({.size = Pair(5, 3), .mode = Interpolation::bilinear}),
          call),
      row("MaxPool2d.2x3", MaxPool2d({2, 3}, {.stride = Pair{1, 2}}), call),
      row("AvgPool2d.2x3", AvgPool2d({2, 3}), call),
      row("AdaptiveAvgPool2d.2x3", AdaptiveAvgPool2d({2, 3}), call)};
}

std::vector<Row> layer_rows() {
  const auto attention = [](AttentionMask (*mask)(X)) {
    return [mask](MultiHeadAttention& m, X x) { return m(x[0], mask(x)); };
  };
  const auto attend_others = [](MultiHeadAttention& m, X x) {
    return m.forward(x[0], x[1], x[2], {.valid = optional(x, 3)});
  };
  const MultiHeadAttention heads(6, 2);
  return {
      row("Linear", Linear(5, 4), call),
      row("Linear.no bias", Linear(5, 4, {.bias = false}), call),
      row("Conv2d", Conv2d(2, 3, 3, {.stride = 2, .padding = 1}), call),
      row("Conv2d.groups", Conv2d(4, 6, 2, {.dilation = 2, .groups = 2, .bias = false}), call),
      row("Embedding", Embedding(4, 3), call),
      row("Relu", Relu(), call),
      row("Tanh", Tanh(), call),
      row("Sigmoid", Sigmoid(), call),
      row("Silu", Silu(), call),
      row("Softplus", Softplus(), call),
      row("Gelu", Gelu(), call),
      row("Identity", Identity(), call),
      row("NoNorm", NoNorm(), call),
      row("NoNorm.relu", NoNorm(Activation::relu), call),
      row("Dropout.all", Dropout(1), call),
      row("Dropout.evaluation", evaluating(Dropout(0.6)), call),
      row("MaxPool2d", MaxPool2d(3, {.stride = Pair{2, 2}, .padding = {1, 1}}), call),
      row("AvgPool2d", AvgPool2d(2), call),
      row("Flatten", Flatten(), call),
      row("Flatten.some", Flatten(-3, 2), call),
      row("AdaptiveAvgPool2d", AdaptiveAvgPool2d(3), call),

      row("BatchNorm", BatchNorm(3), train_then_evaluate),
      row("BatchNorm.momentum", BatchNorm(3, {.eps = 0.2, .momentum = 0.3}), train_then_evaluate),
      row("BatchNorm.cumulative", BatchNorm(3, {.momentum = {}}), train_then_evaluate),
      row("BatchNorm.not affine", BatchNorm(3, {.affine = false}), train_then_evaluate),
      row("BatchNorm.untracked", BatchNorm(3, {.track_running_stats = false}), train_then_evaluate),
      row("BatchNorm.frozen", frozen(BatchNorm(3)), train_then_evaluate),
      row("BatchNorm.last", BatchNorm(4, {.channels_last = true}), train_then_evaluate),
      row("BatchNorm.last masked", BatchNorm(4, {.channels_last = true}), call_with_second),
      row("BatchNorm.ghost", BatchNorm(3, {.ghost_size = 2}), train_then_evaluate),
      row("BatchNorm.ghost last masked", BatchNorm(4, {.channels_last = true, .ghost_size = 2}),
          call_with_second),
      row("LayerNorm", LayerNorm(5), call),
      row("LayerNorm.two axes", LayerNorm(Shape{4, 5}, {.eps = 0.3}), call),
      row("LayerNorm.no bias", LayerNorm(5, {.bias = false}), call),
      row("LayerNorm.not affine", LayerNorm(5, {.affine = false}), call),
      row("LayerNorm.masked", LayerNorm(5), call_with_second),
      row("GroupNorm", GroupNorm(2, 6), call),
      row("GroupNorm.not affine", GroupNorm(1, 4, {.eps = 0.3, .affine = false}), call),
      row("GroupNorm.masked", GroupNorm(2, 6), call_with_second),
      row("InstanceNorm", InstanceNorm(3), call),
      row("InstanceNorm.affine", InstanceNorm(3, {.affine = true}), call),
      row("RmsNorm", RmsNorm(5), call),
      row("RmsNorm.two axes", RmsNorm(Shape{4, 5}, {.eps = 0.3, .affine = false}), call),
      row("RmsNorm.masked", RmsNorm(5), call_with_second),

      row("RnnCell", RnnCell(5, 4), call_with_second),
      row("RnnCell.relu", RnnCell(5, 4, {.nonlinearity = Nonlinearity::relu}), call_with_second),
      row("RnnCell.no bias", RnnCell(5, 4, {.bias = false}), call_with_second),
      row("RnnCell.layer norm", RnnCell(5, 4, {.norm = [](int64_t n) { return LayerNorm(n); }}),
          call_with_second),
      row("Rnn.tanh", Rnn(3, 4), run_rnn),
      row("Rnn.relu", Rnn(3, 4, {.cell = {.nonlinearity = Nonlinearity::relu}}), run_rnn),
      row("LstmCell", LstmCell(5, 4), run_lstm_cell),
      row("LstmCell.no bias", LstmCell(5, 4, {.bias = false}), run_lstm_cell),
      row("GruCell", GruCell(5, 4), call_with_second),
      row("GruCell.no bias", GruCell(5, 4, {.bias = false}), call_with_second),
      row("LstmCell.layer norm", LstmCell(5, 4, {.norm = over_features}), run_lstm_cell),
      row("GruCell.layer norm", GruCell(5, 4, {.norm = over_features}), call_with_second),
      row("Lstm.layer norm", Lstm(3, 4, {.cell = {.norm = over_features}}), run_rnn),
      row("Gru.layer norm", Gru(3, 4, {.cell = {.norm = over_features}}), run_rnn),
      row("Rnn.sum", Rnn(3, 4, {.cell = {.norm = over_steps}}), run_rnn),
      row("Rnn.sum per step", Rnn(3, 4, {.cell = {.norm = over_steps, .norm_steps = 2}}), run_rnn),
      row("Lstm", Lstm(3, 4), run_rnn),
      row("Gru", Gru(3, 4), run_rnn),
      row("Rnn.batch norm", Rnn(3, 4, {.norm = over_steps}), run_rnn),
      row("Rnn.batch norm per step", Rnn(3, 4, {.norm = over_steps, .norm_steps = 2}), run_rnn),

      row("MultiHeadAttention", heads, attention([](X) { return AttentionMask{}; })),
      row("MultiHeadAttention.no bias", MultiHeadAttention(6, 2, {.bias = false}),
          attention([](X) { return AttentionMask{}; })),
      row("MultiHeadAttention.padded", heads,
          attention([](X x) { return AttentionMask{.valid = x[1]}; })),
      row("MultiHeadAttention.causal", heads,
          attention([](X) { return AttentionMask{.causal = true}; })),
      row("MultiHeadAttention.mask", heads,
          attention([](X x) { return AttentionMask{.mask = x[1]}; })),
      row("MultiHeadAttention.others", heads, attend_others),
      row("MultiHeadAttention.others padded", heads, attend_others),

      row("Lambda", Lambda([](const Tensor& x) { return x * x; }), call),
      row("Residual", Residual(Sequential(Linear(5, 5), Tanh())), call),
      row("Sequential",
          Sequential(Conv2d(2, 3, 3, {.padding = 1}), BatchNorm(3), Relu(),
                     Residual(Sequential(Conv2d(3, 3, 3, {.padding = 1}), Tanh())), MaxPool2d(2),
                     LayerNorm(Shape{3, 2, 3})),
          train_then_evaluate),
  };
}

template <class Cell>
void add_stacked_rows(std::vector<Row>& rows) {
  const std::string kind = Cell::kSequenceName;
  const auto add = [&](const char* label, const RecurrentOptions<Cell>& options) {
    rows.push_back(row(kind + label, Recurrent<Cell>(3, 4, options), run_rnn));
  };
  add(".stacked", {.num_layers = 3});
  add(".bidirectional", {.bidirectional = true});
  add(".stacked bidirectional", {.num_layers = 2, .bidirectional = true});
  add(".stacked without bias", {.cell = {.bias = false}, .num_layers = 2});
}

void add_gelu_rows(std::vector<Row>& rows) {
  for (NormPlace place : {NormPlace::before, NormPlace::after}) {
    const std::string where =
        place == NormPlace::before ? "EncoderBlock.gelu before" : "EncoderBlock.gelu after";
    const EncoderBlock block({.dim = 6,
                              .heads = 2,
                              .mlp_dim = 5,
                              .norm = Norm::layer,
                              .norm_place = place,
                              .activation = MlpActivation::gelu});
    rows.push_back(row(where, block, call));
    rows.push_back(row(where + " causal", block,
                       [](EncoderBlock& m, X x) { return m(x[0], {.causal = true}); }));
    rows.push_back(
        row(where + " mask", block, [](EncoderBlock& m, X x) { return m(x[0], {.mask = x[1]}); }));
  }
}

void add_decoder_rows(std::vector<Row>& rows) {
  for (NormPlace place : {NormPlace::before, NormPlace::after})
    rows.push_back(row(place == NormPlace::before ? "DecoderBlock.before" : "DecoderBlock.after",
                       DecoderBlock({.dim = 6,
                                     .heads = 2,
                                     .mlp_dim = 5,
                                     .norm = Norm::layer,
                                     .norm_place = place,
                                     .activation = MlpActivation::gelu}),
                       [](DecoderBlock& m, X x) {
                         return m(x[0], x[1], {.causal = true}, {.valid = optional(x, 2)});
                       }));
}

void add_language_model_rows(std::vector<Row>& rows) {
  const std::pair<const char*, Positions> kinds[] = {{"learned", Positions::learned},
                                                     {"sinusoidal", Positions::sinusoidal},
                                                     {"rotary", Positions::rotary}};
  for (const auto& [kind, positions] : kinds)
    for (bool tied : {true, false})
      rows.push_back(row(fmt::format("TransformerLanguageModel.{}{}", kind, tied ? " tied" : ""),
                         TransformerLanguageModel(7, 5,
                                                  {.blocks = {.dim = 8,
                                                              .heads = 2,
                                                              .depth = 2,
                                                              .mlp_dim = 5,
                                                              .norm = Norm::layer,
                                                              .activation = MlpActivation::gelu},
                                                   .positions = positions,
                                                   .tied = tied}),
                         call));
  rows.push_back(
      row("LstmLanguageModel", LstmLanguageModel(7, {.hidden = 4, .num_layers = 2}), call));
  rows.push_back(
      row("LstmLanguageModel.tied", LstmLanguageModel(7, {.hidden = 4, .tied = true}), call));
  rows.push_back(row("Autoencoder", Autoencoder(6, {.hidden = {5, 3}, .code = 2}), call));
}

void add_model_rows(std::vector<Row>& rows) {
  for (Norm norm : all_norms()) {
    const std::string kind = name(norm);
    rows.push_back(
        row("Mlp." + kind, Mlp(5, 4, {.hidden = {6, 3}, .norm = norm}), train_then_evaluate));
    rows.push_back(
        row("ResidualBlock." + kind, ResidualBlock(2, 3, 2, 5, 4, norm), train_then_evaluate));
    rows.push_back(row("Cnn." + kind, Cnn(1, 5, 4, 4, {.channels = {2, 3}, .norm = norm}),
                       train_then_evaluate));
    rows.push_back(row("RnnClassifier." + kind, RnnClassifier(3, 3, {.hidden = 4, .norm = norm}),
                       [](RnnClassifier& m, X x) { return m.forward(x[0], x[1]); }));
    for (NormPlace place : {NormPlace::before, NormPlace::after}) {
      if (norm == Norm::none && place == NormPlace::after) continue;  // the same
      const std::string where = kind + (place == NormPlace::before ? " before" : " after");
      const TransformerOptions options{
          .dim = 6, .heads = 2, .depth = 2, .mlp_dim = 5, .norm = norm, .norm_place = place};
      rows.push_back(row("EncoderBlock." + where, EncoderBlock(options), run_block));
      if (norm != Norm::none)
        rows.push_back(row("Transformer." + where, Transformer(7, 3, 4, options),
                           [](Transformer& m, X x) { return m.forward(x[0], x[1]); }));
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(layers_are_pytorchs) {
  std::vector<Row> rows = layer_rows();
  add_model_rows(rows);
  add_stacked_rows<RnnCell>(rows);
  add_stacked_rows<LstmCell>(rows);
  add_stacked_rows<GruCell>(rows);
  add_gelu_rows(rows);
  add_decoder_rows(rows);
  add_language_model_rows(rows);
  for (Row& row : window_rows()) rows.push_back(std::move(row));
  std::set<std::type_index> seen;
  for_each_case(load_cases("layers.safetensors"), rows, [&](const Case& c, const Row& row) {
    for (DType dtype : {DType::f64, DType::f32}) row.check(c, dtype);
    seen.insert(row.type);
  });
  for (const ModuleSamples* row : all_module_samples())
    for (const ModuleSample& sample : row->make()) {
      const Module& module = *sample.module;
      BOOST_TEST(seen.contains(typeid(module)),
                 row->name << ", " << module.describe() << " is in no case");
    }
}

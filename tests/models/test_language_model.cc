#define BOOST_TEST_MODULE language_model
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/models/autoencoder.h>
#include <gradus/models/language_model.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/sgd.h>
#include <gradus/training/checkpoint.h>
#include <unistd.h>

#include <filesystem>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

namespace {

constexpr int64_t kVocabulary = 11, kContext = 8;

TransformerLanguageModel transformer(Positions positions, NormPlace place = NormPlace::before) {
  TransformerLanguageModel model(kVocabulary, kContext,
                                 {.blocks = {.dim = 8,
                                             .heads = 2,
                                             .depth = 2,
                                             .mlp_dim = 16,
                                             .norm_place = place,
                                             .activation = MlpActivation::gelu},
                                  .positions = positions});
  model.to(DType::f64);
  for (Tensor parameter : model.parameters())  // so that tokens depend much on those before
    raw::copy(raw::cast(parameter * 6.0, DType::f64), parameter);
  model.eval();
  return model;
}

Tensor tokens_of(const Shape& shape, uint64_t seed) {
  Generator generator(seed);
  return randint(0, kVocabulary, shape, generator);
}

/// Each token from all before it, or from the last ones as the model says.
template <class Model>
Tensor uncached(Model& model, const Tensor& prompt, int64_t count, const SamplingOptions& options,
                Generator& generator, int64_t context = 1 << 20) {
  int64_t begin = 0;
  const auto next = [&](const Tensor& tokens) {
    if (tokens.size(1) - begin > context) begin = tokens.size(1) - context / 2;
    return select(model(slice(tokens, 1, begin, tokens.size(1))), 1, -1);
  };
  return generate(next, prompt, count, options, generator);
}

}  // namespace

// Scores and values, bit by bit but for the order of sums.
BOOST_AUTO_TEST_CASE(a_cache_gives_what_all_positions_give) {
  for (bool rotary : {false, true}) {
    MultiHeadAttention attention(8, 2, {.rotary = rotary});
    attention.to(DType::f64);
    Generator generator(2);
    const Tensor x = randn({3, 40, 8}, generator, DType::f64);
    const Tensor whole = attention(x, {.causal = true});
    const NoRecord pause;
    KeyValueCache cache;
    TensorList parts;
    for (const auto& [begin, end] : {std::pair{0, 3}, {3, 4}, {4, 5}, {5, 9}, {9, 30}, {30, 40}})
      parts.push_back(attention.forward(slice(x, 1, begin, end), cache));
    BOOST_TEST(cache.length() == 40);
    check_close("y", concat(parts, 1), whole.to_vector<double>(), 1e-14);
  }
}

BOOST_AUTO_TEST_CASE(a_copy_of_a_cache_goes_its_own_way) {
  MultiHeadAttention attention(4, 2);
  Generator generator(2);
  const Tensor x = randn({1, 3, 4}, generator), a = randn({1, 1, 4}, generator),
               b = randn({1, 1, 4}, generator);
  const NoRecord pause;
  KeyValueCache first;
  attention.forward(x, first);
  KeyValueCache second = first, third;
  third = first;
  const auto y = attention.forward(a, first).to_vector<double>();
  attention.forward(b, second);
  check_close("a copy", attention.forward(a, third), y, 0);
  const Tensor whole = attention(concat({x, a, b}, 1), {.causal = true});
  check_close("the first", attention.forward(b, first), slice(whole, 1, 4, 5).to_vector<double>(),
              1e-6);
}

BOOST_AUTO_TEST_CASE(a_cache_refuses_what_does_not_go_on_from_it) {
  MultiHeadAttention attention(4, 2);
  KeyValueCache cache;
  {
    Tape tape;
    BOOST_CHECK_EXCEPTION(attention.forward(ones({1, 2, 4}), cache), Error, says("say NoRecord"));
  }
  attention.forward(ones({1, 2, 4}), cache);
  BOOST_CHECK_EXCEPTION(attention.forward(ones({2, 1, 4}), cache), Error,
                        says("x (2, 1, 4) does not go on from a cache of (1, 2, 16, 2)"));
  BOOST_CHECK_EXCEPTION(attention.forward(ones({1, 0, 4}), cache), Error, says("(1, 0, 4)"));
  BOOST_TEST(cache.length() == 2);
}

BOOST_AUTO_TEST_CASE(a_decoder_block_with_a_cache) {
  DecoderBlock block({.dim = 8, .heads = 2, .mlp_dim = 6});
  block.to(DType::f64);
  Generator generator(2);
  const Tensor x = randn({2, 6, 8}, generator, DType::f64),
               memory = randn({2, 5, 8}, generator, DType::f64),
               valid = Tensor::of({{1, 1, 1, 0, 0}, {1, 1, 1, 1, 1}}, DType::boolean);
  const Tensor whole = block(x, memory, {.causal = true}, {.valid = valid});
  const NoRecord pause;
  KeyValueCache cache;
  TensorList parts;
  for (const auto& [begin, end] : {std::pair{0, 2}, {2, 3}, {3, 6}})
    parts.push_back(block.forward(slice(x, 1, begin, end), memory, cache, {.valid = valid}));
  check_close("y", concat(parts, 1), whole.to_vector<double>(), 1e-14);
}

BOOST_AUTO_TEST_CASE(transformers_generate_as_without_a_cache) {
  for (Positions positions : {Positions::learned, Positions::sinusoidal, Positions::rotary})
    for (NormPlace place : {NormPlace::before, NormPlace::after}) {
      TransformerLanguageModel model = transformer(positions, place);
      for (const SamplingOptions& options :
           {SamplingOptions{.temperature = 0}, SamplingOptions{.temperature = 0.8, .top_k = 7},
            SamplingOptions{.top_p = 0.9}}) {
        const Tensor prompt = tokens_of({3, 4}, 1);
        Generator one(5), other(5);
        // 5 fit; then the context begins anew, again and again.
        for (int64_t count : {4, 30})
          BOOST_TEST(model.generate(prompt, count, options, one).to_vector<int64_t>() ==
                     uncached(model, prompt, count, options, other, kContext).to_vector<int64_t>());
      }
      const Tensor longer = tokens_of({2, 20}, 1);
      Generator one(5), other(5);
      BOOST_TEST(model.generate(longer, 3, {}, one).to_vector<int64_t>() ==
                 uncached(model, longer, 3, {}, other, kContext).to_vector<int64_t>());
    }
}

BOOST_AUTO_TEST_CASE(an_lstm_generates_as_over_the_whole_sequence) {
  for (int64_t layers : {1, 2}) {
    LstmLanguageModel model(kVocabulary, {.hidden = 6, .num_layers = layers, .dropout = 0.5});
    model.to(DType::f64);
    for (Tensor parameter : model.parameters()) raw::copy(parameter * 3.0, parameter);
    model.eval();
    const Tensor prompt = tokens_of({3, 4}, 1);
    for (const SamplingOptions& options :
         {SamplingOptions{.temperature = 0}, SamplingOptions{.temperature = 0.8}}) {
      Generator one(5), other(5);
      BOOST_TEST(model.generate(prompt, 30, options, one).to_vector<int64_t>() ==
                 uncached(model, prompt, 30, options, other).to_vector<int64_t>());
    }
  }
}

BOOST_AUTO_TEST_CASE(generation_records_nothing_and_begins_with_the_prompt) {
  TransformerLanguageModel model = transformer(Positions::learned);
  const Tensor prompt = tokens_of({2, 3}, 4);
  Tape tape;
  const Tensor tokens = model.generate(prompt, 2);
  BOOST_TEST(tape.size() == 0u);
  BOOST_TEST((tokens.shape() == Shape{2, 5}));
  BOOST_TEST(slice(tokens, 1, 0, 3).to_vector<int64_t>() == prompt.to_vector<int64_t>());
  BOOST_TEST(model.generate(prompt, 0).to_vector<int64_t>() == prompt.to_vector<int64_t>());
}

BOOST_AUTO_TEST_CASE(bad_prompts_and_modes_are_named) {
  TransformerLanguageModel model = transformer(Positions::learned);
  BOOST_CHECK_EXCEPTION(model.generate(zeros({2, 0}, DType::i64), 3), Error,
                        says("generate: the prompt is i64 (2, 0)"));
  BOOST_CHECK_EXCEPTION(model.generate(zeros({2, 1}), 3), Error, says("the prompt is f32 (2, 1)"));
  BOOST_CHECK_EXCEPTION(model.generate(zeros({2, 1}, DType::i64), -3), Error, says("-3 tokens"));
  BOOST_CHECK_EXCEPTION(model.generate(full({2, 1}, 11, DType::i64), 3), Error, says("11"));
  Tensor beyond = zeros({1, 12}, DType::i64);  // the context is 8
  beyond.mutable_data<int64_t>()[0] = 99;
  BOOST_CHECK_EXCEPTION(model.generate(beyond, 3), Error, says("generate: index 99"));
  BOOST_CHECK_EXCEPTION(model(zeros({1, 9}, DType::i64)), Error,
                        says("9 positions in tokens (1, 9), at most 8"));
  model.train();
  BOOST_CHECK_EXCEPTION(model.generate(zeros({2, 1}, DType::i64), 3), Error, says("call eval()"));
  BOOST_CHECK_EXCEPTION(generate(
                            [](const Tensor& tokens) {
                              return zeros({tokens.size(0), 2, 3});
                            },
                            zeros({2, 1}, DType::i64), 3),
                        Error,
                        says("the logits behind tokens (2, 1) are (2, 2, 3), must be (N, V)"));
}

namespace {

Tensor loss_of(UnaryModule& model) {
  const Tensor tokens = tokens_of({4, 6}, 8);
  return cross_entropy(reshape(model(slice(tokens, 1, 0, 5)), {20, kVocabulary}),
                       reshape(slice(tokens, 1, 1, 6), {20}));
}

void train_once(UnaryModule& model, Optimizer& optimizer) {
  Tape tape;
  const Tensor loss = loss_of(model);
  optimizer.zero_grad();
  tape.backward(loss);
  optimizer.step();
}

bool tied(Module& model) {
  Tensor first, last;
  for (const auto& [path, tensor] : model.state()) {
    if (path == "embedding.weight") first = tensor;
    if (path == "head.weight") last = tensor;
  }
  return first && last && first.is(last);
}

}  // namespace

// One tensor under two names: trained as one, in copies and after a checkpoint as well.
BOOST_AUTO_TEST_CASE(tied_weights_stay_tied) {
  LstmLanguageModel model(kVocabulary, {.hidden = 6, .tied = true});
  const LstmLanguageModel loose(kVocabulary, {.hidden = 6});
  BOOST_TEST(model.parameter_count() + kVocabulary * 6 ==
             LstmLanguageModel(loose).parameter_count());
  LstmLanguageModel copy = model, assigned(kVocabulary, {.hidden = 6, .tied = true});
  assigned = model;
  const auto before = model.parameters()[0].to_vector<double>();
  for (LstmLanguageModel* other : {&copy, &assigned}) {
    BOOST_TEST(tied(*other));
    Sgd optimizer(other->parameters(), {.lr = 0.5});
    train_once(*other, optimizer);
    BOOST_TEST(tied(*other));
    BOOST_TEST(other->parameters()[0].to_vector<double>() != before);
  }
  BOOST_TEST(tied(model));
  BOOST_TEST(model.parameters()[0].to_vector<double>() == before);  // the copies' own

  const std::string path = std::filesystem::temp_directory_path() /
                           fmt::format("gradus-test-tied-{}.safetensors", ::getpid());
  LstmLanguageModel resumed(kVocabulary, {.hidden = 6, .tied = true});
  Adam one(copy.parameters()), other(resumed.parameters());
  train_once(copy, one);
  Checkpoint().add("model", copy).add("optimizer", one).save(path);
  Checkpoint().add("model", resumed).add("optimizer", other).load(path);
  std::filesystem::remove(path);
  BOOST_TEST(tied(resumed));
  train_once(copy, one);
  train_once(resumed, other);
  BOOST_TEST(loss_of(resumed).item() == loss_of(copy).item());

  NamedTensors apart = copy.state();
  for (auto& [name, tensor] : apart)
    if (name == "head.weight") tensor = raw::clone(tensor + 1.0);
  BOOST_CHECK_EXCEPTION(resumed.load_state(apart), Error, says("head.weight"));
}

BOOST_AUTO_TEST_CASE(a_language_model_learns_a_sequence) {
  TransformerLanguageModel model(kVocabulary, 5,
                                 {.blocks = {.dim = 8, .heads = 2, .depth = 1, .mlp_dim = 16}});
  model.initialize(1);
  Adam optimizer(model.parameters(), {.lr = 0.02});
  const double before = loss_of(model).item();
  for (int i = 0; i < 60; ++i) train_once(model, optimizer);
  BOOST_TEST(loss_of(model).item() < 0.3 * before);
}

BOOST_AUTO_TEST_CASE(an_autoencoder_is_its_two_halves) {
  Autoencoder model(6, {.hidden = {5}, .code = 2});
  const Tensor x = randn({4, 2, 3});
  const Tensor code = model.encoder(x);
  BOOST_TEST((code.shape() == Shape{4, 2}));
  BOOST_TEST((model(x).shape() == x.shape()));
  check_close("y", model(x), model.decoder(code).to_vector<double>(), 0);
}

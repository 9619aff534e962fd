#include <cmath>

#include "lab/study/verdicts.h"

namespace gradus::lab {

namespace {

const double kTenth = std::log(1.1);  // of a loss
constexpr double kPoints = 0.02;      // of an accuracy
constexpr double kSlightly = 0.005;   // of an accuracy: a tenth of an error of 5 %
constexpr double kExact = 1e-5;       // of what is equal but for rounding

constexpr const char* kDigitsOnly = "larger images, other data";
constexpr const char* kHarm =
    "at 2 sequences a statistic; that BN does harm there does not show that LN helps, which is "
    "asked against no norm";
constexpr const char* kVowelsOnly = "language models, longer sequences, other data";

/// Test losses of a norm at g samples a statistic, against another's.
Endpoint losses(const char* name, int statement, const char* part, const char* norm,
                const char* cell, const char* other, int sign, const char* claim,
                const char* limits, const char* not_tested, Endpoint::Beside beside = {},
                double times = 1) {
  return {name,
          statement,
          "statistics-batch",
          Measure::log_ratio,
          {part, norm, cell, "loss"},
          {part, other, "any", "loss"},
          sign,
          kTenth,
          claim,
          limits,
          not_tested,
          nullptr,
          beside,
          times};
}

/// How much more a norm loses by length than another: a ratio of ratios.
Endpoint lengths(const char* name, const char* part, const char* norm, const char* other, int sign,
                 const char* claim, Endpoint::Beside beside) {
  return {name,
          6,
          "lengths",
          Measure::log_ratio,
          {part, norm, "whole", "loss"},
          {part, other, "whole", "loss"},
          sign,
          kTenth,
          claim,
          "after training on the first 10 frames, for utterances of 15 and more",
          kVowelsOnly,
          "first 10",
          beside};
}

/// The losses beside their growth.
Endpoint::Beside whole_losses(const char* part, const char* norm, const char* other) {
  return {"The losses on whole utterances themselves",
          {part, norm, "whole", "loss"},
          {part, other, "whole", "loss"}};
}

Endpoint exactly(const char* name, int statement, const char* experiment, const char* part,
                 const char* norm, const char* quantity, const char* claim) {
  return {name,   statement, experiment, Measure::bound, {part, norm, "all", quantity}, {}, 0,
          kExact, claim,     nullptr,    nullptr};
}

}  // namespace

const std::vector<Endpoint>& all_endpoints() {
  static const std::vector<Endpoint> endpoints = {
      exactly("axes", 1, "axes", "patterns", "all", "mismatch",
              "which inputs share a statistic is as the definitions say, for BN, LN, GN and IN on "
              "images and sequences"),
      exactly("microbatch-layer", 2, "microbatch", "mlp", "layer", "relative difference",
              "with LN the gradient of an MLP for a batch is that of its micro-batches together"),
      losses("mlp-2", 2, "mlp", "batch", "g=2", "layer", +1,
             "with 2 samples a statistic BN's test loss is above LN's in an MLP",
             "at 2 samples a statistic; the map shows where it ends", kDigitsOnly),
      losses("cnn-1", 3, "cnn", "batch", "g=1", "layer", +1,
             "with 1 image a statistic BN's test loss is above LN's in a CNN",
             "at one image a statistic and with running statistics (the findings tell what its own "
             "give), against LN with a weight for each element",
             kDigitsOnly, {}, 1.8),
      exactly("layer-modes", 3, "train-inference", "cnn", "layer", "mode difference",
              "LN computes the same in training and in inference"),
      {"contrast",
       3,
       "train-inference",
       Measure::difference,
       {"cnn", "batch", "contrast", "accuracy batch"},
       {"cnn", "batch", "contrast", "accuracy running"},
       +1,
       kPoints,
       "BN labels images of half the contrast worse with running statistics than with the batch's",
       "for one change of the data: all test images at half the contrast",
       kDigitsOnly},
      exactly("independence", 4, "companions", "all", "layer", "relative difference",
              "with LN an output does not depend on the other samples, nor, with LN of each token, "
              "on padding"),
      losses(
          "cnn-full", 4, "cnn", "batch", "full", "layer", -1,
          "with statistics over the whole batch of 32 BN's test loss is below LN's in a CNN",
          "against LN with a weight for each element; with one for each channel, as BN has, LN's "
          "loss is another (see the findings)",
          kDigitsOnly,
          {"BN's test loss over that of no norm",
           {"cnn", "batch", "full", "loss"},
           {"cnn", "none", "any", "loss"}}),
      losses("rnn-2", 4, "rnn", "batch", "g=2", "layer", +1,
             "with 2 sequences a statistic BN's test loss (one BN for all steps) is above LN's in "
             "an RNN",
             kHarm, kVowelsOnly),
      losses("rnn-step-2", 4, "rnn", "batch per step", "g=2", "layer", +1,
             "with 2 sequences a statistic BN's test loss (a BN for each step) is above LN's in an "
             "RNN",
             kHarm, kVowelsOnly, {}, 1.2),
      losses("layer-rnn", 4, "rnn", "layer", "any", "none", -1,
             "LN's test loss is below that of no norm in an RNN",
             "with 32 units, after 800 updates", kVowelsOnly),
      losses("transformer-2", 4, "transformer", "batch", "g=2", "layer", +1,
             "with 2 sequences a statistic BN's test loss is above LN's in a transformer", kHarm,
             kVowelsOnly),
      losses("layer-transformer", 4, "transformer", "layer", "any", "none", -1,
             "LN's test loss is below that of no norm in a transformer",
             "with two blocks of width 32, after 400 updates", kVowelsOnly, {}, 2),
      {"speed",
       5,
       "speed",
       Measure::log_ratio,
       {"sigmoid", "batch", "best", "steps"},
       {"sigmoid", "none", "best", "steps"},
       -1,
       kTenth,
       "BN needs fewer steps to 90 % than no norm, each at its best rate",
       "in a net of three sigmoid layers with small initial weights",
       "nets above three layers",
       nullptr,
       {"Both at a ninth of the rate that is best without a norm",
        {"sigmoid", "batch", "ninth of none's rate", "steps"},
        {"sigmoid", "none", "ninth of none's rate", "steps"}},
       .5},
      {"rates",
       5,
       "speed",
       Measure::difference,
       {"sigmoid", "batch", "all", "rates"},
       {"sigmoid", "none", "all", "rates"},
       +1,
       1,
       "BN reaches 90 % within 600 steps at more rates (of a grid by factors of 3) than no norm",
       "in a net of three sigmoid layers with small initial weights",
       "nets above three layers",
       nullptr,
       {},
       .5},
      {"groups",
       5,
       "regularization",
       Measure::slope,
       {"wrong labels", "batch", "", "accuracy"},
       {},
       -1,
       kSlightly / 4,
       "smaller groups regularize: with a fifth of the labels wrong, and each group at its own "
       "best "
       "rate, the test accuracy falls with each doubling of the samples a statistic",
       "within BN, at a fifth of the labels wrong, after 400 updates",
       kDigitsOnly,
       nullptr,
       {"At rates that are common to all groups", {"wrong labels fixed", "batch", "", "accuracy"}},
       2},
      {"best-none",
       5,
       "regularization",
       Measure::difference,
       {"wrong labels", "batch", "best", "accuracy"},
       {"wrong labels", "none", "best", "accuracy"},
       +1,
       kSlightly,
       "BN at its best group, rate and number of updates regularizes better than the best-tuned "
       "net without a norm",
       "at a fifth of the labels wrong",
       kDigitsOnly,
       nullptr,
       {"With 200 images and right labels",
        {"200 images", "batch", "best", "accuracy"},
        {"200 images", "none", "best", "accuracy"}},
       2},
      lengths("lengths-rnn", "rnn", "batch", "layer", +1,
              "from the length that training showed to whole utterances the test loss grows by a "
              "larger factor with BN (one for all steps) than with LN in an RNN",
              whole_losses("rnn", "batch", "layer")),
      lengths(
          "lengths-rnn-step", "rnn", "batch per step", "layer", +1,
          "from the length that training showed to whole utterances the test loss grows by a "
          "larger factor with BN (one for each step, the tenth's from there on) than with LN in "
          "an RNN",
          whole_losses("rnn", "batch per step", "layer")),
      lengths("lengths-transformer", "transformer", "batch", "layer", +1,
              "from the length that training showed to whole utterances the test loss grows by a "
              "larger factor with BN than with LN in a transformer",
              whole_losses("transformer", "batch", "layer")),
      lengths("lengths-layer", "rnn", "layer", "none", -1,
              "from the length that training showed to whole utterances the test loss grows by a "
              "smaller factor with LN than with no norm in an RNN",
              {"LN's own loss on whole utterances over that on their beginnings, where 1 is steady",
               {"rnn", "layer", "whole", "loss"},
               {"rnn", "layer", "first 10", "loss"}}),
  };
  return endpoints;
}

const std::vector<Statement>& all_statements() {
  static const std::vector<Statement> statements = {
      {1,
       "Batch Normalization (BN) takes mean and variance over (N, H, W) for each channel; Layer "
       "Normalization (LN) over (C, H, W) of each image, over the features of each token."},
      {2,
       "BN depends on the batch: it fails in training where a statistic has one value or very few. "
       "LN works the same for any batch."},
      {3,
       "BN differs between training (the batch's statistics) and inference (running ones). LN is "
       "the same in both."},
      {4, "BN suits CNNs; LN suits RNNs and transformers."},
      {5, "BN accelerates training, and regularizes slightly."},
      {6, "LN is stable for sequences of varying length; BN is not."},
      {7,
       "All of the answer together: the axis, the batch, training and inference, which nets, "
       "speed, "
       "lengths."},
  };
  return statements;
}

}  // namespace gradus::lab

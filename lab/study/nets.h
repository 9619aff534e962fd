#pragma once
#include <gradus/autograd/ops/conv.h>
#include <gradus/data/dataset.h>
#include <gradus/layers/module.h>
#include <gradus/models/norm.h>
#include <gradus/training/evaluate.h>

#include <functional>
#include <memory>

#include "lab/study/study.h"

namespace gradus::lab {

/// What a run learns from, chooses its rate by, and is judged by. The test part is always the same;
/// the seed draws four fifths of the rest to train with, and leaves the others for validation.
struct RunData {
  Dataset train, validation, test;
};
/// The largest batches that experiments take of images.
constexpr int64_t kLargestBatch = 64;
/// "digits", a fixed fifth of them to test with, or the IDX files of a folder, 2,000 to train with
/// and 1,000 to test at most, those of more than 16 pixels a side averaged over rectangles;
/// standardized. Errors: fewer than two classes, or too few images for a
/// batch of kLargestBatch.
RunData run_images(const std::string& data, uint64_t seed);
/// The sides of those rectangles; 1 x 1: images as they are.
Pair averaged_pixels(const std::string& data);
/// Japanese Vowels, with "lengths", as published.
RunData run_vowels(uint64_t seed);

/// Names what rates were chosen on, for TunedRate::data: "digits", or what tells the images of a
/// folder from others.
std::string rates_data(const std::string& data);
/// checksum() of the images that run_images() reads.
uint32_t images_checksum(const std::string& data);

/// What a kind of net of make_net() learns: run_images() for a CNN and an MLP, else the vowels.
RunData data_for(std::string_view kind, const StudyOptions& options, uint64_t seed);

/// A model with its way to read a batch. Copies share the model.
struct Net {
  std::shared_ptr<Module> module;
  std::function<Tensor(const Dataset& batch)> logits;
  std::function<Net()> clone;  ///< a deep copy

  /// The training room's evaluate().
  Evaluation evaluate(const Dataset& data, const EvaluateOptions& options = {}) const {
    return gradus::evaluate(*module, data, logits, options);
  }
};
/// Of a model whose forward takes x, or x and lengths.
template <class Model>
Net net_of(Model model) {
  const auto shared = std::make_shared<Model>(std::move(model));
  return {shared, [shared](const Dataset& batch) { return detail::logits_of(*shared, batch); },
          [shared] { return net_of(Model(*shared)); }};
}

/// One of the lab's nets, for data like these: "cnn" (residual, 8 and 16 channels), "mlp" (three
/// layers of 64, relu), "rnn" (32 units, the norm on the recurrent sum; with `per_step` one for
/// each step), "transformer" (width 32, two blocks, norms before).
Net make_net(std::string_view kind, const NormChoice& norm, const Dataset& data,
             bool per_step = false);

/// How a net is trained: with Adam, at a constant rate after a tenth of warming up; unless
/// `sgd` says otherwise.
struct TrainOptions {
  int64_t batch_size = 32;
  int64_t updates = 600;
  double lr = 1e-3;
  bool sgd = false;
  /// If above 0, the most that the norm of all gradients may be (Pascanu et al. 2013).
  double clip_norm = 0;
  /// After each update, with their number and the batch's loss before it; false ends training.
  std::function<bool(int64_t update, double loss)> after_update = {};
};
/// How the headline map trains a kind of net, at a rate to be chosen; others that go beside it,
/// too.
TrainOptions usual_training(std::string_view kind);
/// Draws the net by the seed and trains it; orders by the seed, batches of less left out. The last
/// loss, infinite where it became so.
double train(const Net& net, const Dataset& data, const TrainOptions& options, uint64_t seed);

/// A net after training, and its last loss: infinite where training diverged.
struct Trained {
  Net net;
  double loss;
};
/// The net's loss on `validation`, by which a rate is chosen: infinite where training diverged.
double validation_loss(const Trained& trained, const Dataset& validation);

/// Each item's Brier score (Brier 1950): the squares of what the class probabilities, the softmax
/// of the logits in evaluation mode, are off, summed over the classes: from 0 to 2.
std::vector<double> brier_scores(const Net& net, const Dataset& data);

/// Scores the net with running statistics that are first re-estimated over the training data (Wu &
/// Johnson 2021); the net keeps its own.
Evaluation evaluate_with_population(const Net& net, const Dataset& data, const Dataset& training);

}  // namespace gradus::lab

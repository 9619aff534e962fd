// Batch Normalization against Layer Normalization, on what a first layer makes of real digits.
#include <gradus/gradus.h>

using namespace gradus;

static double largest(const Tensor& x) { return max(abs(x)).item(); }

/// How far x is from mean 0 and variance 1 along an axis, at most.
static double unevenness(const Tensor& x, int64_t axis) {
  return std::max(largest(mean(x, {axis})), largest(var(x, {axis}, false, 0) - 1));
}

int main() {
  Split data = train_test_split(digits(), 0.2, 1);
  standardize(data);
  Linear layer(64, 8);
  layer.initialize(1);
  const Tensor x = layer(flatten(data.train.x, 1));  // (1438, 8): a row an image
  const Tensor batch = slice(x, 0, 0, 32);
  BatchNorm batch_norm(8);
  LayerNorm layer_norm(8);

  fmt::print("1. Along which axis mean and variance become 0 and 1; largest deviation from that\n");
  const Tensor by_batch = batch_norm(batch), by_layer = layer_norm(batch);
  fmt::print("              each feature over the batch   each image over its features\n");
  for (const auto& [name, y] : {std::pair{"BatchNorm", by_batch}, {"LayerNorm", by_layer}})
    fmt::print("   {}  {:26.4f}  {:30.4f}\n", name, unevenness(y, 0), unevenness(y, 1));
  const bool axes = unevenness(by_batch, 0) < 0.01 && unevenness(by_batch, 1) > 0.1 &&
                    unevenness(by_layer, 1) < 0.01 && unevenness(by_layer, 0) > 0.1;

  fmt::print("\n2. Image 0 among images 1 to 31, and among 101 to 131\n");
  const Tensor others = concat({slice(x, 0, 0, 1), slice(x, 0, 101, 132)});
  const double batch_moves = largest(select(batch_norm(others) - by_batch, 0, 0));
  const double layer_moves = largest(select(layer_norm(others) - by_layer, 0, 0));
  fmt::print("   its BatchNorm moves by up to {:.4f}, its LayerNorm by {:.4f}\n", batch_moves,
             layer_moves);

  fmt::print("\n3. A batch of one image, in training\n");
  const Tensor one = slice(x, 0, 0, 1);
  bool refused = false;
  try {
    batch_norm(one);
  } catch (const Error& error) {
    refused = true;
    fmt::print("   {}\n", error.what());
  }
  const bool alone = largest(layer_norm(one) - slice(by_layer, 0, 0, 1)) < 1e-6;
  fmt::print("   LayerNorm gives what it gave in the batch: {}\n", alone);

  fmt::print("\n4. Running statistics on the way to those of all images\n");
  BatchNorm running(8);
  const Tensor all_mean = mean(x, {0}), all_var = var(x, {0});
  double mean_off = 0, var_off = 0;
  for (int64_t step = 1; step <= 100; ++step) {
    const int64_t begin = step * 37 % (x.size(0) - 128);
    running(slice(x, 0, begin, begin + 128));
    mean_off = largest(running.running_mean - all_mean);
    var_off = largest(running.running_var / all_var - 1);
    if (step == 1 || step == 10 || step == 30 || step == 100)
      fmt::print("   after {:3} batches: mean off by {:.4f}, variance by {:6.1f} %\n", step,
                 mean_off, 100 * var_off);
  }

  fmt::print("\n5. The same batch in training and in evaluation\n");
  const auto modes_differ = [&](auto& norm) {
    norm.train();
    const Tensor training = norm(batch);
    norm.eval();
    return largest(norm(batch) - training);
  };
  BatchNorm fresh(8);
  const double untrained = modes_differ(fresh), trained = modes_differ(running),
               layers = modes_differ(layer_norm);
  fmt::print(
      "   BatchNorm after one batch differs by {:.4f}, after 100 by {:.4f}, LayerNorm by {:.4f}\n",
      untrained, trained, layers);
  const bool modes = untrained > trained && trained > 0 && layers < 1e-6;

  return axes && batch_moves > 0.01 && layer_moves < 1e-6 && refused && alone && mean_off < 0.1 &&
                 var_off < 0.2 && modes
             ? 0
             : 1;
}

// Regression on a table: columns by name from a CSV file, categories as one-hot columns, numbers
// standardized by the training part, a network that stops when it no longer improves, and a file
// with all that a prediction needs.
#include <fmt/ranges.h>
#include <gradus/gradus.h>

#include <cmath>
#include <filesystem>

using namespace gradus;

/// What a prediction is made by: how columns become numbers, and the network.
struct Predictor {
  Vocabulary sexes;
  Standardizer columns{9}, target{1};
  Mlp model{11, 1, {.hidden = {32, 32}, .norm = Norm::layer}};

  /// (N, 11): nine numbers, standardized, and two columns for the sex.
  Tensor inputs(const Table& table) const {
    const Tensor numbers = columns.apply(numbers_of(table));
    return concat({numbers, table.one_hot("sex", sexes)}, 1);
  }
  static Tensor numbers_of(const Table& table) {
    return table.numbers({"age", "bmi", "bp", "tc", "ldl", "hdl", "tch", "ltg", "glu"});
  }
  Checkpoint checkpoint() {
    Checkpoint file;
    file.add("model", model).add("mean", columns.mean).add("scale", columns.scale);
    file.add("target_mean", target.mean).add("target_scale", target.scale);
    return file;
  }
};

int main(int argc, char** argv) {
  const Table table = load_csv(argc > 1 ? argv[1] : LESSON_DATA "/diabetes.csv");
  fmt::print("{} patients, columns {}\n", table.size(), fmt::join(table.columns(), " "));

  Predictor predictor;
  predictor.sexes = table.categories("sex");
  const Tensor raw_target = table.numbers({"progression"});
  const Dataset rows{.name = "diabetes", .x = arange(table.size()), .y = raw_target};
  const Split split = train_test_split(rows, 0.2, 1);
  const Split parts = train_test_split(split.train, 0.2, 2);  // train, and when to stop

  // Fitted on what the network is trained with, and on nothing else.
  const Tensor all = Predictor::numbers_of(table);
  predictor.columns = Standardizer::fit(index_select(all, 0, parts.train.x));
  predictor.target = Standardizer::fit(parts.train.y);
  const Tensor inputs = predictor.inputs(table), target = predictor.target.apply(raw_target);
  const auto part = [&](const Dataset& chosen) {
    return Dataset{.x = index_select(inputs, 0, chosen.x), .y = index_select(target, 0, chosen.x)};
  };
  const Dataset train = part(parts.train), valid = part(parts.test);

  Mlp& model = predictor.model;
  model.initialize(1);
  AdamW optimizer(weight_decay_groups(model, 0.05), {.lr = 2e-3});
  const DataLoader loader(train, {.batch_size = 32});
  EarlyStopping stopping(20);
  const std::string file = "09_tabular_regression.safetensors";
  const auto loss_on = [&](const Dataset& data) { return mse_loss(model(data.x), data.y); };
  uint64_t epoch = 0;
  for (double loss = 0; epoch < 500 && !stopping.step(loss = loss_on(valid).item()); ++epoch) {
    if (stopping.improved()) predictor.checkpoint().save(file);
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor batch_loss = loss_on(batch);
      optimizer.zero_grad();
      tape.backward(batch_loss);
      optimizer.step();
    }
  }
  fmt::print("stopped after {} epochs, the best {} before\n\n", epoch, stopping.num_bad_epochs);

  // Another program would begin here, with the file.
  Predictor loaded;
  loaded.sexes = predictor.sexes;
  loaded.checkpoint().load(file);
  std::filesystem::remove(file);
  const Tensor chosen = split.test.x, truth = split.test.y;
  const Tensor predicted =
      loaded.target.invert(loaded.model(index_select(loaded.inputs(table), 0, chosen)));
  fmt::print("progression  predicted\n");
  for (int64_t i = 0; i < 8; ++i)
    fmt::print("{:11.0f}  {:9.0f}\n", truth.at({i, 0}), predicted.at({i, 0}));
  const double r2 = r2_score(predicted, truth);
  const double apart = mean(abs(predicted - truth)).item();
  fmt::print("\nof {} patients who were in no training: R^2 {:.2f}, {:.0f} apart on average\n",
             truth.size(0), r2, apart);
  return r2 > 0.35 ? 0 : 1;
}

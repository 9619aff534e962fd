// A training that is killed and resumed, at any moment, ends with the bits of one that was not.
#define BOOST_TEST_MODULE checkpoint
#include <gradus/base/file.h>
#include <gradus/gradus.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <type_traits>

#include "tests/checks.h"

using namespace gradus;
using test::says;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("gradus-test-checkpoint-{}", ::getpid());
  Folder() { fs::create_directory(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return path / name; }
};

/// A training in which everything has a state: moments, running statistics, dropout, an order that
/// is drawn, a rate that falls, an average of the weights, a list that grows.
struct Training {
  Sequential model{Linear(64, 24), BatchNorm(24), Relu(), Dropout(0.2), Linear(24, 10)};
  Adam optimizer{model.parameters(), {.lr = 0.01}};
  Generator noise{5, "noise"};
  Tensor average = zeros({24, 64});
  std::vector<double> losses;
  int64_t epoch = 0, batch = 0, step = 0;
  bool warm = false;
  double best = 1e300;
  Checkpoint checkpoint;

  Training() {
    manual_seed(7);
    model.initialize(3);
    checkpoint.add("model", model).add("optimizer", optimizer).add("noise", noise);
    checkpoint.add("dropout", default_generator()).add("average", average).add("losses", losses);
    checkpoint.add("epoch", epoch).add("batch", batch).add("step", step);
    checkpoint.add("warm", warm).add("best", best);
  }

  void one_step(const Batch& b, double rate) {
    Tape tape;
    const Tensor x = reshape(b.x, {b.x.size(0), 64});
    const Tensor loss = cross_entropy(model(x + 0.1 * randn(x.shape(), noise)), b.y);
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.set_lr_factor(rate);
    optimizer.step();
    raw::copy(raw::clone(0.9 * average + 0.1 * model.parameters()[0]), average);
    losses.push_back(loss.item());
    best = std::min(best, loss.item());
    warm = true;
  }

  /// Two epochs; saves after each step.
  void run(const std::string& path) {
    if (fs::exists(path)) checkpoint.load(path);
    const DataLoader loader(digits()[arange(400)], {.batch_size = 32, .seed = 2});
    const Schedule schedule = warmup_schedule(5, cosine_schedule(21));
    for (; epoch < 2; ++epoch, batch = 0) {
      const DataLoader::Epoch batches = loader.epoch(static_cast<uint64_t>(epoch));
      while (batch < loader.size()) {
        one_step(batches.batch(batch), schedule(step));
        ++batch, ++step;
        checkpoint.save(path);
      }
    }
    checkpoint.save(path);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(killed_at_any_moment_it_ends_with_the_same_bits) {
  const Folder folder;
  Training whole;
  whole.run(folder / "whole");
  std::mt19937 random(1);
  int kills = 0;
  for (int i = 0; kills < test::kills_of(50); ++i) {
    const std::string path = folder.path / std::to_string(i);
    int tries = 0;
    for (bool ended = false; !ended; ++tries) {
      const pid_t child = ::fork();
      if (child == 0) {
        Training().run(path);
        ::_exit(0);
      }
      // Longer and longer: on a slow machine, too, a step ends at last.
      ::usleep(static_cast<useconds_t>((2000 + random() % 30'000) * (1 + tries / 40)));
      ::kill(child, SIGKILL);
      int status = 0;
      ::waitpid(child, &status, 0);
      ended = WIFEXITED(status);
      BOOST_REQUIRE((!ended || WEXITSTATUS(status) == 0));
      kills += !ended;
    }
    BOOST_TEST((read_file(path) == read_file(folder / "whole")), "training " << i);
  }
}

BOOST_AUTO_TEST_CASE(all_kinds_of_values_come_back) {
  const Folder folder;
  int64_t large = (int64_t{1} << 62) + 1;
  double number = 0x1.fffffffffffffp-3;
  bool flag = true;
  std::vector<double> list{1, 2.5}, none;
  Tensor tensor = Tensor::of({1, 2}), column = transpose(ones({3, 2}), 0, 1);
  Generator generator(9, "x");
  Relu nothing;
  Checkpoint checkpoint;
  checkpoint.add("nothing", nothing)
      .add("large", large)
      .add("number", number)
      .add("flag", flag)
      .add("list", list);
  checkpoint.add("none", none).add("tensor", tensor).add("column", column);
  checkpoint.add("generator", generator);
  checkpoint.save(folder / "c");
  const double next = generator.uniform();
  large = 0, number = 0, flag = false, list = {}, none = {7};
  raw::copy(zeros({2}), tensor);
  raw::copy(zeros({2, 3}), column);
  checkpoint.load(folder / "c");
  BOOST_TEST(large == (int64_t{1} << 62) + 1);
  BOOST_TEST(number == 0x1.fffffffffffffp-3);
  BOOST_TEST(flag);
  BOOST_TEST((list == std::vector<double>{1, 2.5}));
  BOOST_TEST(none.empty());
  BOOST_TEST((tensor.to_vector<float>() == std::vector<float>{1, 2}));
  BOOST_TEST((column.to_vector<float>() == std::vector<float>(6, 1)));
  BOOST_TEST(generator.uniform() == next);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_changes_nothing) {
  const Folder folder;
  Linear model(2, 3), other(2, 4);
  Sgd optimizer(model.parameters(), {.lr = 0.1, .momentum = 0.9}),
      other_optimizer(other.parameters(), {.lr = 0.2, .momentum = 0.9});
  int64_t step = 3;
  Checkpoint wrong;
  wrong.add("step", step).add("model", other).add("optimizer", other_optimizer);
  wrong.save(folder / "wrong");
  step = 5;
  Checkpoint checkpoint;
  checkpoint.add("step", step).add("model", model).add("optimizer", optimizer);
  const std::vector<float> before = model.parameters()[0].to_vector<float>();
  BOOST_CHECK_EXCEPTION(checkpoint.load(folder / "wrong"), Error,
                        says("weight is (3, 2) f32 here"));
  BOOST_TEST(step == 5);
  BOOST_TEST((model.parameters()[0].to_vector<float>() == before));
  save_tensors(folder / "less", {{"step", full({}, 1, DType::i64)}});
  BOOST_CHECK_EXCEPTION(checkpoint.load(folder / "less"), Error,
                        says("less: holds nothing of model"));
  Checkpoint less;
  less.add("step", step);
  BOOST_CHECK_EXCEPTION(less.load(folder / "wrong"), Error, says("nothing here is called model"));
  const std::string header = R"({"step.":{"dtype":"I64","shape":[],"data_offsets":[0,8]}})";
  const auto length = static_cast<int64_t>(header.size()), nine = int64_t{9};
  std::ofstream(folder / "dot", std::ios::binary)
      .write(reinterpret_cast<const char*>(&length), 8)
      .write(header.data(), length)
      .write(reinterpret_cast<const char*>(&nine), 8);
  BOOST_CHECK_EXCEPTION(less.load(folder / "dot"), Error,
                        says("dot: \"step.\" is no name of a tensor"));
  BOOST_TEST(step == 5);
  for (const auto& [tensor, words] :
       {std::pair{ones({}), "step is one () i64"}, {ones({2}, DType::i64), "step is one () i64"}}) {
    save_tensors(folder / "other", {{"step", tensor}});
    BOOST_CHECK_EXCEPTION(less.load(folder / "other"), Error, says(words));
  }
  BOOST_TEST(step == 5);
  BOOST_CHECK_THROW(checkpoint.load(folder / "none"), Error);
}

namespace {

/// A checkpoint of one value.
template <class T>
Checkpoint of(T& value) {
  Checkpoint checkpoint;
  checkpoint.add("value", value);
  return checkpoint;
}

template <class T>
void goes_through_a_file(const std::string& path) {
  for (const T value : {std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max(), T(1)}) {
    if constexpr (std::is_same_v<T, uint64_t>)
      if (value > uint64_t{1} << 63) continue;
    T x = value;
    Checkpoint checkpoint = of(x);
    checkpoint.save(path);
    x = T(0);
    checkpoint.load(path);
    BOOST_TEST((x == value));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(numbers_of_every_type) {
  const Folder folder;
  const std::string path = folder / "c";
  goes_through_a_file<int>(path);
  goes_through_a_file<unsigned>(path);
  goes_through_a_file<short>(path);
  goes_through_a_file<uint8_t>(path);
  goes_through_a_file<long long>(path);
  goes_through_a_file<size_t>(path);
  goes_through_a_file<uint64_t>(path);
  goes_through_a_file<float>(path);
  goes_through_a_file<double>(path);
  goes_through_a_file<bool>(path);
  // What was saved loads: a number that the file does not hold is refused when it is saved.
  uint64_t large = uint64_t{1} << 63;
  BOOST_CHECK_EXCEPTION(of(large).save(path), Error, says("c: value: Tensor::from: i64 cannot"));
  int64_t wide = int64_t{1} << 40;
  of(wide).save(path);
  int narrow = 3;
  BOOST_CHECK_EXCEPTION(of(narrow).load(path), Error, says("c: value: to_vector: 1099511627776"));
  BOOST_TEST(narrow == 3);
  wide = -1;
  of(wide).save(path);
  BOOST_CHECK_THROW(of(large).load(path), Error);
}

// Whatever a part has become since it was added: what is saved loads, or is not saved.
BOOST_AUTO_TEST_CASE(what_was_saved_loads) {
  const Folder folder;
  const std::string path = folder / "c";
  for (const bool back : {false, true}) {
    Linear model(2, 3);
    Adam optimizer(model.parameters(), {.lr = 0.1});
    Checkpoint checkpoint;
    checkpoint.add("model", model).add("optimizer", optimizer);
    const auto step = [&] {
      for (Tensor& p : model.parameters()) p.set_grad(raw::cast(sample(p.shape(), 1), p.dtype()));
      optimizer.step();
      return model.weight.to_vector<double>();
    };
    step();
    model.to(DType::f64);
    if (back) {
      step();
      model.to(DType::f32);
    }
    checkpoint.save(path);
    const std::vector<double> next = step();
    checkpoint.load(path);
    BOOST_TEST((step() == next));
    // One whose parameter became another has no next step.
    const Linear other(3, 3);
    model = other;
    BOOST_CHECK_EXCEPTION(checkpoint.save(path), Error, says("optimizer: Adam: parameter"));
  }
  Tensor shared = raw::expand(ones({1}), {5}), later = ones({5}), none = ones({2});
  BOOST_CHECK_EXCEPTION(of(shared), Error, says("share memory"));
  Checkpoint of_later = of(later), of_none = of(none);
  of_later.save(path);
  later = shared;
  BOOST_CHECK_EXCEPTION(of_later.save(path), Error, says("c: value: Checkpoint: elements of"));
  BOOST_CHECK_EXCEPTION(of_later.load(path), Error, says("share memory"));
  none = {};
  BOOST_CHECK_EXCEPTION(of_none.save(path), Error, says("value is an empty handle"));
  Linear tied(2, 2);
  tied.weight.set_data(raw::expand(ones({1, 1}), {2, 2}));
  BOOST_CHECK_EXCEPTION(of(tied).save(path), Error, says("elements of weight (2, 2)"));
  for (const bool nested : {false, true}) {
    Sequential empty;
    if (nested) empty = Sequential(Relu(), Sequential());
    of(empty).save(path);
    of(empty).load(path);
  }
}

// What is one tensor in two parts is one when it is loaded, too.
BOOST_AUTO_TEST_CASE(one_tensor_takes_one_value) {
  const Folder folder;
  Linear a(2, 2), b(2, 2);
  b.weight.share(a.weight);
  Tensor handle = a.weight;
  Adam optimizer(a.parameters(), {});
  Checkpoint checkpoint;
  checkpoint.add("a", a).add("b", b).add("tensor", handle).add("optimizer", optimizer);
  checkpoint.save(folder / "c");
  checkpoint.load(folder / "c");
  const std::vector<float> before = a.weight.to_vector<float>();
  NamedTensors values = load_tensors(folder / "c");
  for (const char* other : {"a.weight", "b.weight", "tensor"}) {
    NamedTensors damaged = values;
    for (auto& [name, x] : damaged)
      if (name == other) x = full(x.shape(), 3);
    save_tensors(folder / "d", damaged);
    BOOST_CHECK_EXCEPTION(checkpoint.load(folder / "d"), Error,
                          says("share memory, and are given different values for it"));
    BOOST_CHECK_EXCEPTION(checkpoint.load(folder / "d"), Error, says(other));
    BOOST_TEST(a.weight.to_vector<float>() == before);
  }
}

// Nor do a tensor and its parts, of any strides, overwrite each other.
BOOST_AUTO_TEST_CASE(parts_that_share_memory_take_one_value) {
  const Folder folder;
  const Tensor whole = Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5}, {2, 3});
  Tensor table = whole, column = slice(whole, 1, 1, 2), row = slice(whole, 0, 1, 2),
         other = slice(whole, 0, 0, 1), turned = transpose(whole, 0, 1);
  Checkpoint checkpoint;
  checkpoint.add("table", table).add("column", column).add("turned", turned);
  checkpoint.save(folder / "c");
  checkpoint.load(folder / "c");
  const NamedTensors values = load_tensors(folder / "c");
  for (const char* part : {"table", "column", "turned"}) {
    NamedTensors damaged = values;
    for (auto& [name, x] : damaged)
      if (name == part) x = raw::add(x, ones_like(x));
    save_tensors(folder / "d", damaged);
    BOOST_CHECK_EXCEPTION(checkpoint.load(folder / "d"), Error,
                          says("share memory, and are given different values for it"));
    BOOST_TEST((whole.to_vector<float>() == std::vector<float>{0, 1, 2, 3, 4, 5}));
  }
  Checkpoint apart;  // rows that do not overlap
  apart.add("row", row).add("other", other);
  apart.save(folder / "f");
  NamedTensors changed = load_tensors(folder / "f");
  for (auto& [name, x] : changed)
    if (name == "row") x = full(x.shape(), 7);
  save_tensors(folder / "f", changed);
  apart.load(folder / "f");
  BOOST_TEST((whole.to_vector<float>() == std::vector<float>{0, 1, 2, 7, 7, 7}));
}

BOOST_AUTO_TEST_CASE(names_that_cannot_be) {
  int64_t step = 0;
  Tensor nothing;
  Checkpoint checkpoint;
  checkpoint.add("step", step);
  BOOST_CHECK_EXCEPTION(checkpoint.add("step", step), Error, says("two parts are called step"));
  BOOST_CHECK_EXCEPTION(checkpoint.add("", step), Error, says("is no name for a part"));
  BOOST_CHECK_EXCEPTION(checkpoint.add("a.b", step), Error, says("a.b"));
  BOOST_CHECK_EXCEPTION(checkpoint.add("a.", step), Error, says("a."));
  BOOST_CHECK_EXCEPTION(checkpoint.add("__metadata__", step), Error,
                        says("Checkpoint: no tensor can be called __metadata__"));
  BOOST_CHECK_EXCEPTION(checkpoint.add("a\xff", step), Error, says("name is not UTF-8"));
  BOOST_CHECK_EXCEPTION(checkpoint.add("x", nothing), Error, says("x is an empty handle"));
}

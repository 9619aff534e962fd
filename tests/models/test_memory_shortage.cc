// Where the k-th request for memory is refused, once or from there on, for every k: what saves,
// loads or writes reports throws std::bad_alloc or an Error, ends no process, leaves no half file
// and nothing half loaded.
#define BOOST_TEST_MODULE memory_shortage
#include <fmt/ranges.h>
#include <gradus/gradus.h>
#include <unistd.h>
#include <zlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/checks.h"
#include "tests/faults.h"

using namespace gradus;

namespace {

const std::string path = "test_memory_shortage_" + std::to_string(::getpid()),
                  other = path + ".other";

struct NoFiles {
  ~NoFiles() {
    std::filesystem::remove(path);
    std::filesystem::remove(other);
  }
};
BOOST_TEST_GLOBAL_FIXTURE(NoFiles);

/// What a thread asks for once, where the C library ends the process if there is no memory.
struct ThreadBegins {
  ThreadBegins() {
    set_threads(1);
    Mlp model(2, 2, {.norm = Norm::batch}), copy = model;
    const Tape tape;
    copy(ones({3, 2}));
  }
};
BOOST_TEST_GLOBAL_FIXTURE(ThreadBegins);

/// Calls f with every request refused in turn until it succeeds; `check` looks at what is left.
void starve(
    const std::string& what, const std::function<void()>& f,
    const std::function<void()>& check = [] {}) {
  const int64_t count = test::each_fault([&](int64_t k, bool for_good) {
    const test::Fault fault = test::with_fault(k, for_good, f);
    check();
    return fault.refused || fault.threw;
  });
  BOOST_TEST(count > 0, what << " asks for no memory");
}

std::string contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::string& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(saving) {
  NamedTensors tensors{{"a matrix", ones({3, 4})},
                       {"a view", raw::expand(ones({1}), {5})},
                       {"flags", ones({2}, DType::boolean)}};
  for (int i = 0; i < 20; ++i)
    tensors.emplace_back("a long name for a scalar " + std::to_string(i), ones({}));
  save_tensors(other, tensors);
  const std::string whole = contents(other);
  write(path, "as it was");
  starve(
      "save", [&] { save_tensors(path, tensors); },
      [&] {
        const std::string found = contents(path);
        BOOST_REQUIRE((found == "as it was" || found == whole));
        BOOST_REQUIRE(!test::partial_files_are_left());
        write(path, "as it was");
      });
}

BOOST_AUTO_TEST_CASE(loading) {
  NamedTensors tensors;
  for (int i = 0; i < 20; ++i)
    tensors.emplace_back("a long name for a vector " + std::to_string(i), ones({3}));
  save_tensors(path, tensors);
  NamedTensors loaded;
  starve("load", [&] { loaded = load_tensors(path); });
  BOOST_TEST_REQUIRE(loaded.size() == tensors.size());
  BOOST_TEST(loaded.back().second.to_vector<float>() == std::vector<float>(3, 1));
}

BOOST_AUTO_TEST_CASE(modules) {
  Mlp model(3, 2, {.norm = Norm::batch}), another(3, 2, {.norm = Norm::batch});
  model.initialize(1);
  another.initialize(2);
  starve("Module::save", [&] { model.save(path); });
  starve(
      "Module::load", [&] { another.load(path); },
      [&] {
        const NamedTensors a = model.state(), b = another.state();
        size_t equal = 0, drawn = 0;
        for (size_t i = 0; i < a.size(); ++i) {
          const bool same = a[i].second.to_vector<double>() == b[i].second.to_vector<double>();
          equal += same;
          drawn += a[i].first.ends_with("weight") && a[i].second.ndim() == 2;
        }
        BOOST_REQUIRE((equal == a.size() || equal + 2 * drawn == a.size()));
        another.initialize(2);
      });
}

namespace {

/// Modes and elements of a model, and whether its norms have observers.
std::string print(Module& model) {
  std::string text;
  for (const auto& [name, module] : model.named_modules()) {
    const auto* norm = dynamic_cast<const BatchNorm*>(module);
    text += fmt::format("{}: {}{}\n", name, module->training() ? "trains" : "",
                        norm && norm->observer ? ", is observed" : "");
  }
  for (const auto& [name, tensor] : model.state())
    text += fmt::format("{}: {}\n", name, fmt::join(tensor.to_vector<double>(), " "));
  return text;
}

Dataset points() {
  return {.name = "points",
          .x = Tensor::of({{1, 2, 3}, {0, 1, 5}, {2, 2, 2}, {4, 1, 0}}),
          .y = Tensor::of({0, 1, 1, 0}, DType::i64),
          .classes = 2};
}

/// A tie between two children.
struct Tied : Module {
  Tied() { b.weight.share(a.weight); }
  void visit(Visitor& visitor) override {
    visitor.module("a", a);
    visitor.module("norm", norm);
    visitor.module("b", b);
  }
  std::string describe() const override { return "Tied"; }
  Linear a{2, 2};
  BatchNorm norm{2};
  Linear b{2, 2};
};

}  // namespace

// In f32 again, with its modes, statistics and gradients.
BOOST_AUTO_TEST_CASE(a_module_in_a_gradient_check) {
  Sequential model(Linear(2, 2), BatchNorm(2));
  model.initialize(1);
  model[1].eval();
  for (Tensor& parameter : model.parameters()) parameter.set_grad(ones_like(parameter));
  const Tensor x = Tensor::of({1, 2, -1, 0.5, 3, 1}), in = reshape(x, {3, 2});
  const std::string before = print(model);
  const auto as_before = [&] {
    BOOST_REQUIRE(print(model) == before);
    BOOST_REQUIRE((model.training() && !model[1].training()));
    for (const Tensor& parameter : model.parameters())
      BOOST_REQUIRE((parameter.dtype() == DType::f32 && parameter.grad()));
  };
  starve(
      "gradcheck", [&] { gradcheck(model, in); }, as_before);
  const std::span inputs(&in, 1);
  const auto spoil = [&](std::span<const Tensor>) -> Tensor {
    model.eval();
    for (Tensor& parameter : model.parameters()) parameter.set_data(ones({3}));
    throw std::bad_alloc();
  };
  test::each_fault([&](int64_t k, bool for_good) {
    const test::Fault fault =
        test::with_fault(k, for_good, [&] { gradcheck(model, spoil, inputs); });
    as_before();
    return fault.refused;
  });
}

// Modes, observers and statistics are as they were, or, of statistics that were asked for, new.
BOOST_AUTO_TEST_CASE(training) {
  Mlp model(3, 2, {.norm = Norm::batch});
  model.initialize(1);
  model.eval();
  const Dataset data = points();
  const std::string before = print(model);
  const auto as_before = [&] { BOOST_REQUIRE(print(model) == before); };
  for (const NormStatistics statistics : {NormStatistics::running, NormStatistics::batch})
    starve(
        "evaluate", [&] { evaluate(model, data, {.batch_size = 2, .statistics = statistics}); },
        as_before);
  const NamedTensors state = model.state();
  NamedTensors kept;
  for (const auto& [name, tensor] : state) kept.emplace_back(name, raw::clone(tensor));
  const auto run = [&] { population_statistics(model, [&] { model(data.x); }); };
  run();
  const std::string after = print(model);
  BOOST_TEST(after != before);
  model.load_state(kept);
  starve("population_statistics", run, [&] {
    const std::string found = print(model);
    BOOST_REQUIRE((found == before || found == after));
    model.load_state(kept);
  });
  Sequential in_parts(Linear(3, 2), BatchNorm(2));
  in_parts.initialize(1);
  AveragedModel average(in_parts, 0.5);
  average.update_parameters(in_parts);
  const auto look = [](Module& module) {
    std::string text = print(module);
    for (const Tensor& p : module.parameters())
      if (p.grad()) text += fmt::format("{}", p.grad());
    return text;
  };
  // What succeeds though a request was refused changes them, too.
  const auto starve_all_or_nothing = [&](const char* what, Module& changed, const auto& act) {
    std::string last = look(changed);
    bool done = false;
    const auto attempt = [&] {
      done = false;
      act();
      done = true;
    };
    starve(what, attempt, [&] {
      const std::string now = look(changed);
      BOOST_REQUIRE((done || now == last));
      last = now;
    });
  };
  starve_all_or_nothing("accumulate_gradients", in_parts, [&] {
    accumulate_gradients(in_parts, 2, [&](int64_t i) {
      const Tensor y = in_parts(slice(data.x, 0, 2 * i, 2 * i + 2));
      return sum(y * y);
    });
  });
  starve_all_or_nothing("AveragedModel", average.module,
                        [&] { average.update_parameters(in_parts); });
  Linear linear(3, 2);
  BatchNorm norm(2);
  linear.eval();
  norm.eval();
  starve("fuse_linear_bn_eval", [&] { fuse_linear_bn_eval(linear, norm); });
  Conv2d conv(1, 2, 3, {.bias = false});
  conv.eval();
  starve("fuse_conv_bn_eval", [&] { fuse_conv_bn_eval(conv, norm); });
}

// What is copied next is whole, and shares nothing with what failed.
BOOST_AUTO_TEST_CASE(copies_of_modules) {
  Tied model, assigned;
  const auto check_parts = [&] {
    Linear b = model.b, a = model.a;
    BOOST_REQUIRE(!a.weight.shares_storage(b.weight));
    BOOST_REQUIRE(!b.weight.shares_storage(assigned.a.weight));
    BOOST_REQUIRE(b.weight.to_vector<float>() == model.b.weight.to_vector<float>());
    Tied whole = model;
    BOOST_REQUIRE(whole.a.weight.is(whole.b.weight));
    BOOST_REQUIRE(print(whole) == print(model));
  };
  starve(
      "a copy", [&] { Tied copy = model; }, check_parts);
  starve(
      "an assignment", [&] { assigned = model; }, check_parts);
  const Sequential chain(Linear(2, 2), BatchNorm(2));
  Sequential other;
  starve("a copy of a Sequential", [&] { Sequential copy = chain; });
  starve("an assigned Sequential", [&] { other = chain; });
  starve("AnyModule", [&] { AnyModule copy = AnyModule(chain), again = copy; });
  starve("parameters", [&] { Tied(model).parameters(); });
}

// Data sets, and what is made of them.
BOOST_AUTO_TEST_CASE(data_sets) {
  Dataset data = points();
  data.more = {{"lengths", Tensor::of({1, 2, 3, 3}, DType::i64)}};
  starve("train_test_split", [&] { train_test_split(data, 0.5, 1); });
  starve("kfold", [&] { kfold(data, 2, 1); });
  starve("rows", [&] { data[Tensor::of({1, 2}, DType::i64)]; });
  starve("pad_sequence", [] { pad_sequence({ones({2, 3}), ones({4, 3})}); });
  starve("DataLoader", [&] {
    for (const Batch& batch : DataLoader(data, {.batch_size = 3}).epoch(1)) (void)batch;
  });
  Generator generator(1);
  starve("random_shift", [&] { random_shift(ones({2, 1, 4, 4}), 1, 0.5, 0, generator); });
  starve("japanese_vowels", [] { japanese_vowels(); });
}

// What changes a whole model or data set changes all of it or nothing.
BOOST_AUTO_TEST_CASE(all_or_nothing) {
  Transformer model(5, 4, 3, {.dim = 8, .heads = 2, .depth = 2, .mlp_dim = 8});
  Split data;
  const auto make = [&] {
    model.to(DType::f32);
    model.initialize(1);
    model.train();
    data = {{"train", sample({6, 3}, 1), arange(6)}, {"test", sample({4, 3}, 2), arange(4)}};
  };
  // All that the calls below may change.
  const auto look = [&] {
    std::vector<std::vector<double>> all;
    for (const auto& [path, module] : model.named_modules())
      all.push_back({double(module->training())});
    for (const auto& [path, x] : model.state()) {
      all.push_back(x.to_vector<double>());
      all.push_back({double(size_of(x.dtype()))});
    }
    for (const Dataset* part : {&data.train, &data.test})
      all.push_back(part->x.to_vector<double>());
    return all;
  };
  const std::pair<const char*, std::function<void()>> calls[] = {
      {"eval", [&] { model.eval(); }},
      {"initialize", [&] { model.initialize(2); }},
      {"to", [&] { model.to(DType::f64); }},
      {"standardize", [&] { standardize(data); }},
  };
  for (const auto& [name, call] : calls) {
    make();
    const auto before = look();
    call();
    const auto after = look();
    BOOST_TEST(before != after);
    make();
    starve(name, call, [&] {
      const auto now = look();
      BOOST_REQUIRE_MESSAGE(now == before || now == after, name << " changed a part");
      make();
    });
  }
}

BOOST_AUTO_TEST_CASE(optimizers) {
  Linear layer(3, 2);
  Adam optimizer(layer.parameters());
  for (Tensor& p : layer.parameters()) p.set_grad(ones_like(p));
  optimizer.step();
  starve("Optimizer::state", [&] { save_tensors(path, optimizer.state()); });
  starve("Optimizer::load_state", [&] { optimizer.load_state(load_tensors(path)); });
}

namespace {

/// All kinds of parts; what they hold follows from one number.
struct Parts {
  Linear first{16, 12}, second{3, 2};
  Adam optimizer{second.parameters(), {.lr = 1}};
  Relu nothing;
  Tensor tensor = zeros({5}), column = transpose(zeros({30, 20}), 0, 1);
  std::vector<double> list;
  Generator generator{1};
  int epoch = 0;
  bool flag = false;
  Checkpoint checkpoint;

  Parts() {
    first.weight.set_data(transpose(zeros({16, 12}), 0, 1));  // no layer's parameter need be dense
    for (Tensor& p : second.parameters()) p.set_grad(ones_like(p));
    optimizer.step();
    checkpoint.add("flag", flag).add("first", first).add("optimizer", optimizer);
    checkpoint.add("nothing", nothing).add("second", second).add("tensor", tensor);
    checkpoint.add("list", list).add("column", column).add("generator", generator);
    checkpoint.add("epoch", epoch);
  }
  void set(int value) {
    for (Module* module : {static_cast<Module*>(&first), static_cast<Module*>(&second)})
      for (Tensor& p : module->parameters()) raw::fill(p, value);
    optimizer.set_lr(value);
    optimizer.set_lr_factor(value);
    for (Tensor* x : {&tensor, &column}) raw::fill(*x, value);
    list.assign(static_cast<size_t>(value), value);
    generator.set_state({static_cast<uint64_t>(value), 0, 1});
    epoch = value;
    flag = value % 2 != 0;
  }
  /// The number from which all follows; 0 if it is none.
  int value() {
    bool same = list == std::vector<double>(static_cast<size_t>(epoch), epoch) &&
                generator.state() == Generator::State{static_cast<uint64_t>(epoch), 0, 1} &&
                flag == (epoch % 2 != 0) && optimizer.base_lr() == epoch;
    NamedTensors all = first.state();
    for (const auto& named : second.state()) all.push_back(named);
    all.insert(all.end(), {{"", tensor}, {"", column}, {"", optimizer.state()[0].second}});
    for (const auto& [name, x] : all)
      for (const double element : x.to_vector<double>()) same = same && element == epoch;
    return same ? epoch : 0;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(checkpoints) {
  Parts parts;
  parts.set(2);
  parts.checkpoint.save(other);
  const std::string two = contents(other);
  parts.set(1);
  parts.checkpoint.save(path);
  const std::string one = contents(path);
  BOOST_TEST(parts.value() == 1);
  starve(
      "Checkpoint::save", [&] { parts.checkpoint.save(other); },
      [&] {
        const std::string found = contents(other);
        BOOST_REQUIRE((found == one || found == two));
        BOOST_REQUIRE(!test::partial_files_are_left());
        write(other, two);
      });
  parts.set(3);
  int loaded = 0, refused = 0;
  const int64_t count = test::each_fault([&](int64_t k, bool for_good) {
    const test::Fault fault = test::with_fault(k, for_good, [&] { parts.checkpoint.load(path); });
    const int value = parts.value();
    BOOST_REQUIRE((value == (fault.threw ? 3 : 1)));
    ++(fault.threw ? refused : loaded);
    parts.set(3);
    return fault.refused || fault.threw;
  });
  BOOST_TEST((loaded > 0 && refused > 200));
  BOOST_TEST_MESSAGE(count << " requests of Checkpoint::load refused");
}

BOOST_AUTO_TEST_CASE(images) {
  const std::string idx(
      "\0\0\x08\x02\0\0\0\x02\0\0\0\x03"
      "abcdef",
      18);
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, idx.data(), static_cast<unsigned>(idx.size()));
  gzclose(file);
  Tensor x;
  starve("read_idx", [&] { x = read_idx(path); });
  BOOST_TEST((x.to_vector<int>() == std::vector{97, 98, 99, 100, 101, 102}));
  starve("digits", [] { digits(); });
}

BOOST_AUTO_TEST_CASE(tables) {
  const Table table = [] {
    save_csv(path, {{"a", Tensor::of({1, 2})}, {"b", std::vector<std::string>{"x", "\"y"}}});
    return load_csv(path);
  }();
  const std::string before = contents(path);
  starve(
      "save_csv",
      [] {
        save_csv(path, {{"a", Tensor::of({1, 2})}});
      },
      [&] {
        const std::string now = contents(path);
        BOOST_REQUIRE((now == before || now == "a\n1\n2\n"));
      });
  starve("load_csv", [] { load_csv(path); });
  starve("a table's columns", [&] {
    table.numbers({"a"});
    table.one_hot("b", table.categories("b"));
    table.drop_missing();
  });
  starve("Standardizer", [] { Standardizer::fit(ones({3, 2})).apply(ones({3, 2})); });
  for (const char* ending : {".npy", ".npz"}) {
    const std::string file = path + ending;
    starve(std::string("save_tensors") + ending, [&] { save_tensors(file, {{"a", ones({2})}}); });
    starve(std::string("load_tensors") + ending, [&] { load_tensors(file); });
    std::filesystem::remove(file);
  }
  Generator generator(1);
  const Tensor images = ones({2, 1, 4, 4});
  starve("augmentations", [&] {
    random_crop(random_flip(images, 0.5, -1, generator), 2, 2, 0, 0, generator);
    random_rotation(images, 10, 0, generator);
    mixup({"some", images, arange(2), 2}, 1, generator);
  });
}

BOOST_AUTO_TEST_CASE(reports) {
  const Tensor x = Tensor::of({1, 2}, DType::f64).set_requires_grad();
  Tape tape;
  const Tensor y = sum(exp(x) * x);
  std::string text;
  starve("listing", [&] { text = listing(tape); });
  starve("to_dot", [&] { text = to_dot(tape); });
  starve("to_json", [&] { text = to_json(tape); });
  const GradcheckReport report = gradcheck([](const Tensor& v) { return exp(v); }, {x});
  starve("to_json of a report", [&] { text = to_json(report); });
  starve("a report's table", [&] { text = report.table(); });
  starve("printing", [&] { text = fmt::format("{}", y); });
}

// Where the k-th request for memory is refused, once or from there on, for every k: what saves,
// loads or writes reports throws std::bad_alloc or an Error, ends no process, leaves no half file
// and nothing half loaded.
#define BOOST_TEST_MODULE memory_shortage
#include <gradus/gradus.h>
#include <unistd.h>
#include <zlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <functional>

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
        BOOST_REQUIRE(!std::filesystem::exists(path + ".partial"));
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

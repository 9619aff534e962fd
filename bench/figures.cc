// The figures of docs/decisions/figures.md as this machine gives them.
#include <dlfcn.h>
#include <gradus/gradus.h>
#include <gradus/kernels/gemm/blas.h>
#include <gradus/kernels/runtime/cpu.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/tensor/runtime.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/measure.h"
#include "bench/process.h"

using namespace gradus;
using namespace gradus::bench;
namespace fs = std::filesystem;

namespace {

int missed = 0;

void print_row(const std::string& what, const std::string& measured, const std::string& target,
               const std::string& met) {
  fmt::print("{:<50} {:<42} {:<22} {}\n", what, measured, target, met);
  std::fflush(stdout);
}

void figure(const std::string& what, const std::string& measured, const std::string& target,
            bool met) {
  missed += !met;
  print_row(what, measured, target, met ? "yes" : "NO");
}

/// A folder that goes away again.
class Scratch {
 public:
  Scratch() {
    char name[] = "/tmp/gradus-figures-XXXXXX";
    check(mkdtemp(name) != nullptr, "figures: no folder in /tmp");
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string file(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

/// Runs f with so many threads.
template <class F>
auto with_threads(int count, F f) {
  const int before = threads();
  set_threads(count);
  const auto result = f();
  set_threads(before);
  return result;
}

// Before anything large: a child's peak memory begins at what its parent has resident.
void user_program(const Scratch& scratch) {
  const std::string program = scratch.file("one_page"), build = GRADUS_BUILD_DIR,
                    library = fs::path(GRADUS_LIBRARY).parent_path();
  const Ran compiled = run({GRADUS_COMPILER, "-std=c++20", "-O2", "-I" + build + "/include",
                            GRADUS_SOURCE_DIR "/bench/one_page.cc", "-o", program, "-L" + library,
                            "-lgradus", "-lfmt", "-Wl,-rpath," + library});
  check(compiled.status == 0, "figures: one_page.cc does not compile");
  figure("compiling a one-page program that trains an MLP",
         fmt::format("{:.2f} s", compiled.seconds), "<= 3 s", compiled.seconds <= 3);
  std::vector<double> seconds;
  double peak = 0;
  for (int i = 0; i < 15; ++i) {
    const Ran ran = run({program});
    check(ran.status == 0, "figures: one_page fails");
    seconds.push_back(ran.seconds);
    peak = std::max(peak, ran.peak_mib);
  }
  const double ms = 1e3 * median(seconds);
  figure("its start to exit, with one training step",
         fmt::format("{:.1f} ms, {:.1f} MiB resident", ms, peak), "<= 20 ms, <= 25 MiB",
         ms <= 20 && peak <= 25);
}

void library_size(const Scratch& scratch) {
  const std::string stripped = scratch.file("libgradus");
  check(run({GRADUS_STRIP, "-o", stripped, GRADUS_LIBRARY}).status == 0, "figures: strip fails");
  const double mib = static_cast<double>(fs::file_size(stripped)) / (1 << 20);
  figure("the library, stripped", fmt::format("{:.2f} MiB", mib), "<= 6 MiB", mib <= 6);
}

void recorded_adds() {
  const Tensor a = ones({16}).set_requires_grad(), b = ones({16}), dy = ones({16});
  const auto forward = [&] {
    Tensor y = a;
    for (int i = 0; i < 100; ++i) y = y + b;
    return y;
  };
  const auto [once, both] = in_turn_us(
      0.5,
      [&] {
        Tape tape;
        forward();
      },
      [&] {
        Tape tape;
        tape.gradient(forward(), a, {.dy = dy});
      });
  const double add = once / 100, backward = (both - once) / 100;
  figure("a recorded add of 16 floats, of a chain of 100",
         fmt::format("{:.3f} us forward, {:.3f} us backward", add, backward), "<= 0.15 us each",
         add <= 0.15 && backward <= 0.15);
}

void tiny_mlp() {
  Sequential model(Linear(2, 16), Relu(), Linear(16, 16), Relu(), Linear(16, 2));
  Sgd optimizer(model.parameters());
  const Tensor x = randn({4, 2}), y = Tensor::of({0, 1, 1, 0}, DType::i64);
  const double us = median_us(0.5, [&] {
    Tape tape;
    const Tensor loss = cross_entropy(model(x), y);
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.step();
  });
  figure("training step of an MLP 2-16-16-2, batch 4, SGD", fmt::format("{:.2f} us", us), "<= 4 us",
         us <= 4);
}

/// Forward and backward read x, x and dy and write y and dx at least: five arrays, which are two
/// and a half copies.
void norm(const char* what, const Tensor& x, const std::function<void()>& forward_and_backward) {
  Tensor to = empty_like(x);
  char* const target = to.mutable_bytes();
  const auto copy = [&] {
    kernels::parallel_for(x.numel() * 4, 1 << 18, [&](int64_t begin, int64_t end) {
      std::memcpy(target + begin, x.bytes() + begin, static_cast<size_t>(end - begin));
    });
  };
  for (int count : {1, 2}) {
    const auto [time, copied] =
        with_threads(count, [&] { return in_turn_us(1, forward_and_backward, copy); });
    const double ratio = time / (2.5 * copied);
    figure(fmt::format("{}, both ways, {}", what, count == 1 ? "1 thread" : "2 threads"),
           fmt::format("{:.0f} us = {:.2f} x bytes / {:.1f} GB/s", time, ratio,
                       static_cast<double>(x.numel()) * 8 / copied / 1e3),
           "<= 2 x", ratio <= 2);
  }
}

void norms() {
  const auto leaf = [](Tensor x) { return x.set_requires_grad(); };
  const Tensor x = leaf(randn({64, 64, 32, 32})), w = leaf(ones({64})), b = leaf(zeros({64})),
               dy = randn({64, 64, 32, 32});
  norm("batch_norm 64x64x32x32", x, [&] {
    Tape tape;
    tape.gradient(batch_norm(x, w, b).y, {x, w, b}, {.dy = dy});
  });
  const Tensor u = leaf(randn({8192, 512})), v = leaf(ones({512})), c = leaf(zeros({512})),
               du = randn({8192, 512});
  norm("layer_norm 8192x512", u, [&] {
    Tape tape;
    tape.gradient(layer_norm(u, {512}, v, c), {u, v, c}, {.dy = du});
  });
}

/// matmul's rate against OpenBLAS's own, which is given as many threads.
void products() {
  const Tensor a = randn({1024, 1024}), b = randn({1024, 1024});
  Tensor c = empty({1024, 1024});
  const kernels::Blas& blas = kernels::blas();
  const kernels::BlasInfo& info = kernels::blas_info();
  void* const library = blas ? dlopen(info.path.c_str(), RTLD_NOW | RTLD_NOLOAD) : nullptr;
  if (!library) return print_row("sgemm 1024^3 through matmul", "OpenBLAS is not there", "", "-");
  const auto set_blas_threads =
      reinterpret_cast<void (*)(int)>(dlsym(library, "openblas_set_num_threads"));
  const auto ours = [&] { matmul(a, b); };
  const auto theirs = [&] {
    blas.sgemm(101, 111, 111, 1024, 1024, 1024, 1, a.data<float>(), 1024, b.data<float>(), 1024, 0,
               c.mutable_data<float>(), 1024);
  };
  for (int count : {1, 2}) {
    std::vector<double> our_us, blas_us;
    for (int round = 0; round < 5; ++round) {
      // Either's threads go on spinning for a while, on the core that the other needs.
      const auto settled_us = [](const auto& f) {
        std::this_thread::sleep_for(std::chrono::milliseconds(60));
        return median_us(0.2, f);
      };
      our_us.push_back(with_threads(count, [&] { return settled_us(ours); }));
      set_blas_threads(count);
      blas_us.push_back(settled_us(theirs));
      set_blas_threads(1);
    }
    const double flops = 2.0 * 1024 * 1024 * 1024, our_rate = flops / median(our_us) / 1e3,
                 blas_rate = flops / median(blas_us) / 1e3;
    figure(fmt::format("sgemm 1024^3 through matmul, {}", count == 1 ? "1 thread" : "2 threads"),
           fmt::format("{:.0f} Gflop/s, OpenBLAS ({}) {:.0f}", our_rate, info.core, blas_rate),
           ">= 90 % of OpenBLAS", our_rate >= 0.9 * blas_rate);
  }
}

/// A test that says yes or no.
void test(const char* what, const char* program, const char* test_case) {
  const std::string path = fmt::format("{}/tests/{}", GRADUS_BUILD_DIR, program);
  if (!fs::exists(path)) return print_row(what, "the tests are not built", "equal", "-");
  const bool passed =
      run({path, fmt::format("--run_test={}", test_case), "--log_level=error", "--report_level=no"})
          .status == 0;
  figure(what, fmt::format("{} {}", program, passed ? "passes" : "FAILS"), "yes", passed);
}

void comparison(const Scratch& scratch) {
  const std::string folder = scratch.file("compare");
  const Ran ran = run({GRADUS_BUILD_DIR "/bin/gradus", "compare", "--output", folder});
  check(ran.status == 0, "figures: gradus compare fails");
  figure("default gradus compare", fmt::format("{:.0f} s", ran.seconds), "<= 60 s",
         ran.seconds <= 60);
  const auto summary = nlohmann::json::parse(std::ifstream(folder + "/summary.json"));
  for (const auto& group : summary["results"]) {
    if (group["model"] != "cnn") continue;
    const double accuracy = 100 * group["test_accuracy_mean"].get<double>();
    figure(
        fmt::format("cnn on digits, norm {}: mean test accuracy", group["norm"].get<std::string>()),
        fmt::format("{:.2f} %", accuracy), ">= 98 %", accuracy >= 98);
  }
}

}  // namespace

/// `figures [short]`: the short form leaves out `gradus compare`.
int main(int argc, char** argv) {
  const bool brief = argc > 1 && std::string(argv[1]) == "short";
  try {
    const Scratch scratch;
    const kernels::CpuInfo& cpu = kernels::cpu_info();
    fmt::print("{}, family {} model {}, {} kernels, {} threads\n\n", cpu.brand, cpu.family,
               cpu.model, kernels::name(kernels::active_isa()), threads());
    print_row("figure", "measured", "target", "met");
    manual_seed(1);
    user_program(scratch);
    library_size(scratch);
    recorded_adds();
    tiny_mlp();
    norms();
    products();
    test("parameters after 20 steps, 1, 2, 3 threads", "test_models_models",
         "training_is_the_same_on_any_number_of_threads");
    test("mallocs of a training step after the third: 0", "test_models_allocations",
         "no_model_asks_malloc_after_the_third_step");
    if (!brief) comparison(scratch);
    fmt::print("\n{}\n",
               missed == 0 ? "every target is met" : fmt::format("{} targets are missed", missed));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

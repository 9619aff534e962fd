#include <dlfcn.h>
#include <fmt/core.h>
#include <gradus/base/detail/fork.h>
#include <gradus/kernels/gemm/blas.h>
#include <gradus/kernels/runtime/cpu.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>

namespace gradus::kernels {
namespace {

/// Names known to every OpenBLAS since 0.3.10. SkylakeX for any AVX-512, Zen 4 included: later
/// names (Cooperlake, SapphireRapids) add bfloat16 kernels and keep its sgemm and dgemm.
std::string core_for(const CpuInfo& cpu) {
  if (cpu.avx512) return "SkylakeX";
  return cpu.avx2 ? "Haswell" : "";
}

bool as_good(std::string_view core, std::string_view expected) {
  const auto same = [](std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                              [](char x, char y) { return (x | 32) == (y | 32); });
  };
  const auto one_of = [&](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(),
                       [&](const char* name) { return same(core, name); });
  };
  if (expected.empty()) return true;
  if (expected == "SkylakeX") return one_of({"SkylakeX", "Cooperlake", "SapphireRapids"});
  return one_of({"Haswell", "Zen"});
}

/// Sets an environment variable for as long as it lives, unless it is set already.
class Setting {
 public:
  Setting(const char* name, const std::string& value)
      : name_(name), mine_(!value.empty() && std::getenv(name) == nullptr) {
    if (mine_) setenv(name, value.c_str(), 1);
  }
  ~Setting() {
    if (mine_) unsetenv(name_);
  }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;
  bool mine() const { return mine_; }

 private:
  const char* name_;
  bool mine_;
};

template <class F>
F symbol(void* library, const char* name) {
  return reinterpret_cast<F>(dlsym(library, name));
}

/// The library if it is an OpenBLAS with 32-bit integers: another BLAS cannot be held to one
/// thread.
void* open(const char* path, int flags) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL | flags);
  if (library == nullptr) return nullptr;
  const auto config = symbol<char* (*)()>(library, "openblas_get_config");
  if (config && dlsym(library, "cblas_sgemm") && dlsym(library, "cblas_dgemm") &&
      dlsym(library, "openblas_set_num_threads") && dlsym(library, "openblas_get_corename") &&
      std::string_view(config()).find("USE64BITINT") == std::string_view::npos)
    return library;
  dlclose(library);
  return nullptr;
}

void* open_any(int flags) {
  for (const char* path : {"libopenblas.so.0", "libopenblas.so", "libblas.so.3"})
    if (void* library = open(path, flags)) return library;
  return nullptr;
}

struct Loaded {
  Blas blas;
  BlasInfo info;
};

void load(Loaded& to) {
  BlasInfo& info = to.info;
  info.expected_core = core_for(cpu_info());
  const char* wanted = std::getenv("GRADUS_BLAS");
  if (wanted != nullptr && std::string_view(wanted) == "none") return;
  const bool named = wanted != nullptr && *wanted != '\0';

  void* library = named ? open(wanted, RTLD_NOLOAD) : open_any(RTLD_NOLOAD);
  const bool was_loaded = library != nullptr;
  const bool user_chose = std::getenv("OPENBLAS_CORETYPE") != nullptr;
  if (!was_loaded) {
    const Setting threads("OPENBLAS_NUM_THREADS", "1"),
        core("OPENBLAS_CORETYPE", info.expected_core);
    library = named ? open(wanted, 0) : open_any(0);
    info.chosen_by = core.mine() ? "CPUID" : user_chose ? "OPENBLAS_CORETYPE" : "OpenBLAS";
  } else {
    info.chosen_by = user_chose ? "OPENBLAS_CORETYPE" : "OpenBLAS";
  }
  if (library == nullptr) {
    info.chosen_by.clear();
    info.warning = fmt::format(
        "{} is not an OpenBLAS that can be loaded; our own kernels do all matrix products, those "
        "of few rows up to half as fast "
        "(install libopenblas0, or set GRADUS_BLAS to the path of libopenblas.so.0, or to none)",
        named ? wanted : "libopenblas.so.0");
    return;
  }
  symbol<void (*)(int)>(library, "openblas_set_num_threads")(1);
  to.blas.sgemm = symbol<Blas::Sgemm>(library, "cblas_sgemm");
  to.blas.dgemm = symbol<Blas::Dgemm>(library, "cblas_dgemm");
  info.config = symbol<char* (*)()>(library, "openblas_get_config")();
  info.core = symbol<char* (*)()>(library, "openblas_get_corename")();
  Dl_info where;
  if (dladdr(reinterpret_cast<void*>(to.blas.sgemm), &where) != 0 && where.dli_fname != nullptr)
    info.path = where.dli_fname;
  if (!user_chose && !as_good(info.core, info.expected_core))
    info.warning = fmt::format(
        "OpenBLAS uses its {} kernels where this processor can run {}{}; set OPENBLAS_CORETYPE={} "
        "in the environment of the program",
        info.core, info.expected_core,
        was_loaded ? " (the program had loaded it before the first product)" : "",
        info.expected_core);
}

// A mutex of its own: what the dynamic linker waits for may be the initializer of a library that
// makes tensors.
constinit std::mutex load_mutex;

// No static of a function: a fork waits for the mutex, not for such a one's initializer.
const Loaded& loaded() {
  static constinit std::atomic<const Loaded*> kept{nullptr};
  if (const Loaded* const there = kept.load(std::memory_order_acquire)) return *there;
  const std::lock_guard lock(load_mutex);
  if (const Loaded* const there = kept.load(std::memory_order_relaxed)) return *there;
  auto made = std::make_unique<Loaded>();
  load(*made);
  if (!made->info.warning.empty()) std::fprintf(stderr, "gradus: %s\n", made->info.warning.c_str());
  kept.store(made.get(), std::memory_order_release);
  return *made.release();
}

constinit std::atomic<int> calls{0};
constinit std::atomic<bool> forking{false};

const gradus::detail::AtFork at_fork(
    [] {
      load_mutex.lock();
      forking.store(true);
      while (calls.load() != 0) std::this_thread::yield();
    },
    [](bool in_child) {
      if (in_child) calls.store(0);  // of threads that found it forking, and are not here
      forking.store(false);
      load_mutex.unlock();
    });

}  // namespace

BlasCall::BlasCall() {
  while (calls.fetch_add(1), forking.load()) {
    calls.fetch_sub(1);
    while (forking.load()) std::this_thread::yield();
  }
}
BlasCall::~BlasCall() { calls.fetch_sub(1, std::memory_order_release); }

const Blas& blas() { return loaded().blas; }
const BlasInfo& blas_info() { return loaded().info; }

}  // namespace gradus::kernels

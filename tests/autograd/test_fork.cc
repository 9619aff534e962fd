// fork() beside a thread that works: the child computes, and ends.
#define BOOST_TEST_MODULE fork
#include <dlfcn.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/tape.h>
#include <gradus/kernels/gemm/blas.h>
#include <gradus/kernels/gemm/gemm.h>
#include <gradus/kernels/runtime/cpu.h>
#include <gradus/models/mlp.h>
#include <gradus/optim/adam.h>
#include <gradus/tensor/random.h>
#include <gradus/tensor/runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <thread>

using namespace gradus;

namespace {

/// Products, scratch memory, jobs for helpers, tensors of many sizes.
double compute(int64_t size) {
  Generator generator(5);
  const Tensor a = randn({size, 400}, generator).set_requires_grad(),
               b = randn({400, 500}, generator).set_requires_grad(),
               image = randn({4, 8, size / 16, size / 16}, generator).set_requires_grad(),
               w = randn({8, 8, 3, 3}, generator).set_requires_grad(),
               weight = randn({500}, generator).set_requires_grad();
  Adam optimizer({a, b, image, w, weight});
  {
    Tape tape;
    const Tensor y =
        sum(layer_norm(matmul(a, b), Shape{500}, weight, weight)) + sum(conv2d(image, w) * 0.5);
    tape.backward(y);
  }
  optimizer.step();
  return sum(a).item() + sum(b).item() + sum(image).item() + sum(w).item();
}

/// The exit status of a child that runs f; 128 and more: the number of the signal that ended it.
int status_of_child(const std::function<int()>& f, unsigned seconds, bool at_once = true) {
  std::cout.flush();
  const pid_t child = fork();
  if (child == 0) {
    alarm(seconds);
    const int result = f();
    if (at_once) _exit(result);
    std::exit(result);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

BOOST_AUTO_TEST_CASE(children_compute_while_other_threads_work) {
  set_threads(3);
  const double expected = compute(400);
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  for (int i = 0; i < 2; ++i)
    workers.emplace_back([&, i] {
      for (int64_t round = i; !stop; ++round) {
        compute(100 + 37 * (round % 11));
        if (round % 7 == 0) trim();
      }
    });
  for (int i = 0; i < 25; ++i) {
    const int status =
        status_of_child([&] { return compute(400) == expected ? 0 : 1; }, 30, i % 4 != 0);
    BOOST_TEST(status == 0, "child " << i << ": status " << status);
    if (status != 0) break;
  }
  stop = true;
  for (std::thread& worker : workers) worker.join();
  BOOST_TEST(compute(400) == expected);
}

// What threads share beside tensors: their streams of random numbers, names of modules.
BOOST_AUTO_TEST_CASE(children_draw_and_name_while_other_threads_do) {
  set_threads(1);
  const auto draw = [](uint64_t stream) {
    manual_stream(stream);
    Mlp model(4, 2, {.hidden = {8, 8}});
    model(zeros({1, 4}));
  };
  Mlp model(4, 2, {.hidden = {64, 64, 64}});
  const std::function<void()> works[] = {[&] { manual_stream(3); }, [&] { model.parameters(); },
                                         [&] {
                                           Mlp copy(model);
                                           copy(zeros({1, 4}));
                                         }};
  for (const auto& work : works) {
    std::atomic<bool> stop{false};
    std::thread worker([&] {
      while (!stop) work();
    });
    for (int i = 0; i < 60; ++i) {
      const int status = status_of_child([&] { return draw(5), 0; }, 10);
      BOOST_TEST(status == 0, "child " << i << ": status " << status);
      if (status != 0) break;
    }
    stop = true;
    worker.join();
  }
}

// OpenBLAS takes a lock of its own for each product; its kernels for AVX-512 not for small ones.
BOOST_AUTO_TEST_CASE(children_multiply_while_other_threads_do) {
  if (kernels::cpu_info().avx2) setenv("OPENBLAS_CORETYPE", "Haswell", 0);
  if (!kernels::blas()) return;
  const auto multiply = [] {
    float a[64] = {1}, b[64] = {2}, c[64];
    const auto no = kernels::Transpose::no;
    kernels::gemm<float>({no, no, 8, 8, 8, 1, a, 8, b, 8, 0, c, 8}, kernels::GemmPath::openblas);
    return c[0] == 2 ? 0 : 1;
  };
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  for (int i = 0; i < 2; ++i)
    workers.emplace_back([&] {
      while (!stop) multiply();
    });
  for (int i = 0; i < 200; ++i) {
    // Every other one forks in turn, where no thread is left to end what it had begun.
    const int status =
        status_of_child([&] { return i % 2 ? multiply() : status_of_child(multiply, 10); }, 10);
    BOOST_TEST(status == 0, "child " << i << ": status " << status);
    if (status != 0) break;
  }
  stop = true;
  for (std::thread& worker : workers) worker.join();
}

BOOST_AUTO_TEST_CASE(a_child_has_helpers_and_children_of_its_own) {
  set_threads(2);
  const double expected = compute(400);
  BOOST_TEST(status_of_child(
                 [&] {
                   if (compute(400) != expected) return 1;
                   std::thread other([] { compute(300); });
                   const int status =
                       status_of_child([&] { return compute(400) == expected ? 0 : 2; }, 30, false);
                   other.join();
                   return status;
                 },
                 60, false) == 0);
}

namespace {
// The thread that counts what it asks the system, and stops for a moment at a certain request.
thread_local bool counts = false;
std::atomic<int64_t> requests{0}, stop_at{-1};
std::atomic<bool> stopped{false};

void request() {
  if (!counts || requests++ != stop_at) return;
  stopped = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(15));
}
}  // namespace

extern "C" {
void* __libc_memalign(size_t, size_t);
void* aligned_alloc(size_t alignment, size_t n) {
  request();
  return __libc_memalign(alignment, n);
}
char* getenv(const char* name) {
  request();
  const size_t size = std::char_traits<char>::length(name);
  for (char** entry = environ; entry && *entry; ++entry)
    if (std::char_traits<char>::compare(*entry, name, size) == 0 && (*entry)[size] == '=')
      return *entry + size + 1;
  return nullptr;
}
FILE* fopen(const char* path, const char* mode) {
  request();
  static const auto real =
      reinterpret_cast<FILE* (*)(const char*, const char*)>(dlsym(RTLD_NEXT, "fopen"));
  return real(path, mode);
}
}

// Each request of a process's first computation, when everything is set up: another thread forks
// just then. The process in which all that happens is a child, too.
BOOST_AUTO_TEST_CASE(children_compute_whatever_another_thread_was_asking_the_system) {
  const char* const program = boost::unit_test::framework::master_test_suite().argv[0];
  const auto run = [&](int64_t k) {
    const std::string command =
        std::string(program) + " --run_test=fork_at_a_request > /dev/null 2>&1";
    setenv("GRADUS_TEST_REQUEST", std::to_string(k).c_str(), 1);
    return WEXITSTATUS(std::system(command.c_str()));
  };
  int64_t k = 0;
  int status = 0;
  for (; (status = run(k)) == 0; ++k) {
  }
  BOOST_TEST(status == 77, "at request " << k << ": status " << status);  // no such request
  BOOST_TEST(k > 20);
  unsetenv("GRADUS_TEST_REQUEST");
}

BOOST_AUTO_TEST_CASE(fork_at_a_request) {
  const char* const k = getenv("GRADUS_TEST_REQUEST");
  if (!k) return;
  stop_at = std::atoll(k);
  std::atomic<bool> over{false};
  std::thread worker([&] {
    counts = true;
    compute(200);
    over = true;
  });
  while (!stopped && !over) std::this_thread::yield();
  if (!stopped) std::_Exit(77);
  const int status = status_of_child([] { return compute(200) > 0 ? 0 : 0; }, 10);
  worker.join();
  std::_Exit(status == 0 ? 0 : 1);
}

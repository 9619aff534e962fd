// What trim() and the cache limit bound, as malloc counts it.
#define BOOST_TEST_MODULE runtime
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/rnn.h>
#include <gradus/autograd/tape.h>
#include <gradus/tensor/random.h>
#include <gradus/tensor/runtime.h>
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

using namespace gradus;

#ifndef GRADUS_SANITIZED  // whose malloc counts nothing here

namespace {

int64_t in_use() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

/// Forward and backward of what takes scratch memory, by both dtypes.
void work(int64_t size) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Generator generator(1);
    const auto leaf = [&](const Shape& shape) {
      return randn(shape, generator, dtype).set_requires_grad();
    };
    const Tensor image = leaf({4, 16, size, size}), w = leaf({16, 16, 3, 3}),
                 q = leaf({2, 4, 4 * size, 32}), a = leaf({8 * size, 4 * size}),
                 b = leaf({8 * size, 4 * size}), weight = leaf({4 * size}), bias = leaf({4 * size});
    for (const Pair stride : {Pair{1, 1}, Pair{2, 2}}) {
      Tape tape;
      tape.backward(sum(conv2d(image, w, {}, {.stride = stride})));
    }
    Tape tape;
    tape.backward(sum(scaled_dot_product_attention(q, q, q)) + sum(matmul(a, b, true)) +
                  sum(layer_norm(a, Shape{4 * size}, weight, bias)));
  }
}

constexpr int64_t kMiB = 1 << 20, kLittle = kMiB / 8;

/// What is in use once threads, OpenBLAS and tables of the first time are there.
int64_t beginning() {
  set_threads(2);
  work(8);
  trim();
  return in_use();
}

/// Helpers give back after their job, which may be a moment after it has returned.
bool soon_below(int64_t bytes) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (in_use() > bytes && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  return in_use() <= bytes;
}

struct CacheLimit {
  explicit CacheLimit(size_t bytes) { set_cache_limit(bytes); }
  ~CacheLimit() { set_cache_limit(size_t{1} << 30); }
};

/// What the system counts.
int64_t resident() {
  int64_t size = 0, pages = 0;
  std::ifstream("/proc/self/statm") >> size >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

/// A few tensors on their way from one thread to another.
class Queue {
 public:
  void put(Tensor x) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() < 4; });
    batches_.push_back(std::move(x));
    changed_.notify_all();
  }
  Tensor take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !batches_.empty(); });
    Tensor x = std::move(batches_.front());
    batches_.pop_front();
    changed_.notify_all();
    return x;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Tensor> batches_;
};

struct Flow {
  const char* name;
  int makers, users;
  int64_t first, second;  // bytes of the batches, by turns
};

/// Batches through a queue; what is in use more at the end than at the beginning.
int64_t kept_after(const Flow& flow, int batches) {
  Queue queue;
  const int64_t before = in_use();
  std::vector<std::thread> threads;
  std::atomic<int> going{flow.makers + flow.users};
  std::atomic<bool> over{false};
  const auto thread = [&](auto work) {
    threads.emplace_back([&, work] {
      work();
      --going;
      while (!over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
  };
  for (int i = 0; i < flow.makers; ++i)
    thread([&] {
      for (int j = 0; j < batches / flow.makers; ++j)
        queue.put(zeros({(j % 2 ? flow.first : flow.second) / 4}));
    });
  for (int i = 0; i < flow.users; ++i)
    thread([&] {
      for (int j = 0; j < batches / flow.users; ++j) queue.take();
    });
  while (going > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const int64_t kept = in_use() - before;
  over = true;
  for (std::thread& one : threads) one.join();
  return kept;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_thread_that_only_releases_keeps_a_few_batches) {
  beginning();
  for (const Flow& flow :
       {Flow{"small", 1, 1, 1000, 30000}, Flow{"images", 1, 1, 100352, 100352},
        Flow{"just below a lock", 1, 1, kMiB - 8192, kMiB / 2}, Flow{"large", 1, 1, 4 * kMiB, kMiB},
        Flow{"one to three", 1, 3, 100352, 4 * kMiB}, Flow{"three to one", 3, 1, 100352, 4 * kMiB},
        Flow{"three to three", 3, 3, 400000, 1600000}}) {
    const int64_t kept = kept_after(flow, 300);
    BOOST_TEST(kept < (flow.makers + flow.users + 4) * (std::max(flow.first, flow.second) + kMiB),
               flow.name << ": " << kept << " bytes are kept");
    trim();
  }
}

// First one makes and the other releases, then the other way round, then each in turn.
BOOST_AUTO_TEST_CASE(threads_that_change_roles_keep_a_few_batches) {
  const int64_t before = beginning();
  Queue there, back;
  constexpr int kBatches = 2000;
  std::thread other([&] {
    for (int i = 0; i < kBatches; ++i) there.take();
    for (int i = 0; i < kBatches; ++i) back.put(zeros({50000}));
    for (int i = 0; i < kBatches; ++i) {
      there.take();
      back.put(zeros({50000}));
    }
    there.take();
  });
  for (int i = 0; i < kBatches; ++i) there.put(zeros({50000}));
  for (int i = 0; i < kBatches; ++i) back.take();
  for (int i = 0; i < kBatches; ++i) {
    there.put(zeros({50000}));
    back.take();
  }
  BOOST_TEST(in_use() - before < 8 * kMiB);
  there.put(zeros({1}));
  other.join();
}

BOOST_AUTO_TEST_CASE(a_thread_for_each_batch_keeps_a_few_batches) {
  const int64_t before = beginning();
  for (int i = 0; i < 200; ++i) {
    Tensor batch;
    std::thread([&] { batch = zeros({4, 100000}); }).join();
  }
  BOOST_TEST(in_use() - before < 8 * kMiB);
}

BOOST_AUTO_TEST_CASE(trim_gives_memory_back_to_the_system) {
  beginning();
  for (const int64_t size : {100, 5000, 40000, 1000000}) {
    trim();
    const int64_t before = resident();
    std::vector<Tensor> batches;
    std::thread maker([&] {
      for (int64_t i = 0; i < 100 * kMiB / 4 / size; ++i) batches.push_back(zeros({size}));
    });
    maker.join();
    BOOST_TEST(resident() - before > 80 * kMiB);
    // Two that stay lie between malloc's end and what is free.
    const Tensor first = batches.front(), last = batches.back();
    batches = {};
    trim();
    BOOST_TEST(resident() - before < 8 * kMiB, "of " << size << " elements");
  }
}

BOOST_AUTO_TEST_CASE(trim_reaches_what_other_threads_keep_when_they_go_on) {
  const int64_t before = beginning();
  std::atomic<int> step{0};
  const auto wait_for = [&](int s) {
    while (step < s) std::this_thread::yield();
  };
  std::thread other([&] {
    for (int64_t size = 20; size < 200000; size += size / 4) {
      std::vector<Tensor> some(10, Tensor());
      for (Tensor& x : some) x = zeros({size});
    }
    step = 1;
    wait_for(2);
    zeros({1});
    step = 3;
    wait_for(4);
  });
  wait_for(1);
  BOOST_TEST(in_use() - before > kMiB);
  trim();
  step = 2;
  wait_for(3);
  BOOST_TEST(in_use() - before < kLittle);
  step = 4;
  other.join();
}

// All threads live, and each has released blocks of all sizes.
BOOST_AUTO_TEST_CASE(the_limit_is_all_threads_together) {
  beginning();
  for (const int64_t mib : {0, 1, 16, 64}) {
    const CacheLimit limit(static_cast<size_t>(mib * kMiB));
    const int64_t before = in_use();
    constexpr int kThreads = 6;
    std::atomic<int> done{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&] {
        for (int64_t bytes = 64; bytes < 4 * kMiB; bytes += bytes / 5) {
          std::vector<Tensor> some;
          for (int64_t k = 0; k < std::max<int64_t>(2, 600000 / bytes); ++k)
            some.push_back(empty({bytes / 4}));
        }
        ++done;
        while (!over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    while (done < kThreads) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const int64_t kept = in_use() - before;
    BOOST_TEST(kept <= mib * kMiB + kMiB, kept << " bytes are kept of " << mib << " MiB");
    BOOST_TEST(kept >= mib * kMiB / 2, kept << " bytes are kept of " << mib << " MiB");
    over = true;
    for (std::thread& one : threads) one.join();
  }
}

BOOST_AUTO_TEST_CASE(trim_gives_all_back) {
  const int64_t before = beginning();
  for (int round = 0; round < 2; ++round) {
    work(64);
    BOOST_TEST(in_use() - before > 8 * kMiB);
    trim();
    BOOST_TEST(in_use() - before < kLittle);
  }
}

BOOST_AUTO_TEST_CASE(trim_serves_the_calling_thread) {
  const int64_t before = beginning();
  std::thread([&] {
    work(64);
    BOOST_TEST(in_use() - before > 8 * kMiB);
    trim();
    BOOST_TEST(in_use() - before < kLittle);
  }).join();
  BOOST_TEST(in_use() - before < kLittle);
}

BOOST_AUTO_TEST_CASE(a_lower_limit_gives_back_at_once) {
  const int64_t before = beginning();
  work(64);
  const CacheLimit limit(2 * kMiB);
  BOOST_TEST(in_use() - before < kLittle);
}

// Free blocks up to the limit by all threads together, and scratch memory up to it by each: of this
// work up to 1.5 MiB by the helper, if it came in time to take a part of every job.
BOOST_AUTO_TEST_CASE(nothing_is_kept_beyond_the_limit) {
  work(64);  // what is made once, whatever the limit
  const int64_t before = beginning();
  for (const int64_t most : {2 * kMiB, int64_t{0}}) {
    const CacheLimit limit(static_cast<size_t>(most));
    work(64);
    BOOST_TEST(soon_below(before + (1 + threads()) * most + kLittle),
               in_use() - before << " bytes are kept of " << most);
  }
}

#endif

BOOST_AUTO_TEST_CASE(the_number_of_threads) {
  set_threads(3);
  BOOST_TEST(threads() == 3);
  BOOST_CHECK_THROW(set_threads(0), Error);
}

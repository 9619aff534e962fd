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

#include <boost/test/unit_test.hpp>
#include <chrono>
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

}  // namespace

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

BOOST_AUTO_TEST_CASE(a_lower_limit_holds_at_once) {
  const int64_t before = beginning();
  work(64);
  const CacheLimit limit(2 * kMiB);
  BOOST_TEST(in_use() - before < 4 * kMiB + kLittle);  // two threads
  const CacheLimit none(0);
  BOOST_TEST(in_use() - before < kLittle);
}

BOOST_AUTO_TEST_CASE(nothing_is_kept_beyond_the_limit) {
  const int64_t before = beginning();
  const CacheLimit limit(2 * kMiB);
  work(64);
  BOOST_TEST(soon_below(before + 4 * kMiB + kLittle), in_use() - before << " bytes are kept");
  const CacheLimit none(0);
  work(64);
  BOOST_TEST(soon_below(before + kLittle), in_use() - before << " bytes are kept");
}

#endif

BOOST_AUTO_TEST_CASE(the_number_of_threads) {
  set_threads(3);
  BOOST_TEST(threads() == 3);
  BOOST_CHECK_THROW(set_threads(0), Error);
}

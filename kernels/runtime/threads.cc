#include <gradus/base/detail/fork.h>
#include <gradus/base/detail/kept_memory.h>
#include <gradus/base/error.h>
#include <gradus/kernels/runtime/float_mode.h>
#include <gradus/kernels/runtime/small_jobs.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace gradus::kernels {
namespace {

constexpr int kMaxThreads = 256;
constexpr uint32_t kOpen = 1u << 31;
// Waking a sleeper costs 10 us here and often lands on the core of its waker; gaps inside a
// training step are shorter than this.
constexpr std::chrono::microseconds kSpin{500};
constexpr int64_t kSmallNs = 50'000;  // what a small job takes at most

thread_local bool in_job = false;
struct InJob {
  bool outer = std::exchange(in_job, true);
  ~InJob() { in_job = outer; }
};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

using Clock = std::chrono::steady_clock;

/// Spins until done() holds or kSpin has passed; returns done().
template <class Done>
bool spin_until(Done done) {
  const auto begin = Clock::now();
  for (;;) {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause();
    }
    if (Clock::now() - begin > kSpin) return done();
  }
}

/// One job at a time, described by plain fields. `gate_` holds whether it is open to helpers and
/// how many are inside: a worker enters by adding 1 and stays if the gate was open; the caller
/// closes it once all chunks are claimed and waits for those inside. So nobody ever waits for a
/// worker that is asleep.
class Pool {
 public:
  /// Leaked, so that a job in some static destructor after shutdown() still finds it (and runs
  /// inline). A forked child makes one of its own: of its parent's it has none of the threads, and
  /// one of them may just have been entering the gate.
  static Pool& instance() {
    Pool* const pool = current.load(std::memory_order_acquire);
    return pool ? *pool : make();
  }
  static void forget() { current.store(nullptr, std::memory_order_relaxed); }

  void run(int64_t chunks, void (*body)(void*, int64_t), void* context, ChunkTime& time) {
    const int helpers = static_cast<int>(std::min<int64_t>(chunks, thread_count()) - 1);
    if (in_job || helpers < 1 || busy_.exchange(true, std::memory_order_acquire))
      return run_here(chunks, body, context);
    start_workers(helpers);
    const auto call_without_job = [this] {
      helpers_.store(0, std::memory_order_relaxed);
      return call();
    };
    if (small_jobs_.shared(helpers, call_without_job)) return share(chunks, body, context, helpers);
    const auto begin = Clock::now();
    const auto taken = [&] { return std::chrono::nanoseconds(Clock::now() - begin).count(); };
    if (chunks * time.ns.load(std::memory_order_relaxed) < kSmallNs) {
      busy_.store(false, std::memory_order_release);
      const InJob guard;
      run_here(chunks, body, context);
      time.ns.store(taken() / chunks, std::memory_order_relaxed);
    } else {
      share(chunks, body, context, helpers);
      // An interruption was timed, perhaps: once more.
      if (taken() < kSmallNs) time.ns.store(0, std::memory_order_relaxed);
    }
  }

  /// f on the calling thread and, unless the pool is busy, on every helper.
  void on_every_thread(void (*f)()) {
    if (in_job || busy_.exchange(true, std::memory_order_acquire)) return f();
    struct Job {
      void (*f)();
      int64_t threads;
      std::atomic<int64_t> arrived{0};
    } job{f, static_cast<int64_t>(workers_.size()) + 1};
    const auto one = [](void* context, int64_t) {
      Job& j = *static_cast<Job*>(context);
      j.f();
      // None takes a second chunk.
      j.arrived.fetch_add(1, std::memory_order_relaxed);
      while (j.arrived.load(std::memory_order_relaxed) < j.threads) std::this_thread::yield();
    };
    share(job.threads, one, &job, static_cast<int>(workers_.size()));
  }

  const SmallJobs& small_jobs() const { return small_jobs_; }

 private:
  Pool() { workers_.reserve(kMaxThreads); }

  /// Nobody waits for who makes it, as a child would for its parent's other threads: two may make
  /// one, and the first is kept. It has no threads yet.
  static Pool& make() {
    std::unique_ptr<Pool> made(new Pool);
    Pool* pool = nullptr;
    if (!current.compare_exchange_strong(pool, made.get(), std::memory_order_acq_rel)) return *pool;
    static constinit std::atomic<bool> at_exit{false};
    if (!at_exit.exchange(true)) std::atexit([] { instance().shutdown(); });
    return *made.release();
  }

  static void run_here(int64_t chunks, void (*body)(void*, int64_t), void* context) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) body(context, chunk);
  }

  /// With busy_ held, which it releases.
  void share(int64_t chunks, void (*body)(void*, int64_t), void* context, int helpers) {
    body_ = body;
    context_ = context;
    float_mode_ = float_mode();
    for (int64_t i = 0; i <= helpers; ++i) {
      shares_[i].next.store(chunks * i / (helpers + 1), std::memory_order_relaxed);
      shares_[i].end = chunks * (i + 1) / (helpers + 1);
    }
    helpers_.store(helpers, std::memory_order_relaxed);
    gate_.fetch_or(kOpen, std::memory_order_release);
    call();
    work(0);
    gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
    const auto all_left = [this] { return gate_.load(std::memory_order_acquire) == 0; };
    if (!spin_until(all_left))
      while (!all_left()) std::this_thread::yield();
    std::exception_ptr error;
    if (failed_.load(std::memory_order_relaxed)) {
      error = std::exchange(error_, nullptr);
      failed_.store(false, std::memory_order_relaxed);
    }
    busy_.store(false, std::memory_order_release);
    if (error) std::rethrow_exception(error);
  }

  void start_workers(int count) {
    while (static_cast<int>(workers_.size()) < count) {
      const int index = static_cast<int>(workers_.size());
      started_.store(false, std::memory_order_relaxed);
      try {
        workers_.emplace_back([this, index] { loop(index); });
      } catch (const std::exception&) {
        return;  // no more threads or memory: the caller does the work
      }
      // What a thread asks of malloc when it starts, it asks before the first job ends.
      started_.wait(false, std::memory_order_acquire);
    }
  }

  void shutdown() {
    if (owner_ != getpid()) return;  // a child that was made in a way that tells nobody
    // Holding busy_ for good makes later jobs run inline.
    while (busy_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    stop_.store(true, std::memory_order_release);
    call();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  uint32_t call() {
    const uint32_t generation = generation_.fetch_add(1, std::memory_order_seq_cst) + 1;
    generation_.notify_all();
    return generation;
  }

  void loop(int index) {
    in_job = true;
    detail::give_back_at_thread_end();
    started_.store(true, std::memory_order_release);
    started_.notify_one();
    uint32_t seen = 0;
    for (;;) {
      const auto called = [&] { return generation_.load(std::memory_order_acquire) != seen; };
      if (!spin_until(called)) {
        if (index == 0) small_jobs_.set_asleep(true);
        generation_.wait(seen, std::memory_order_acquire);
        if (index == 0) small_jobs_.set_asleep(false);
      }
      seen = generation_.load(std::memory_order_acquire);
      if (index == 0) small_jobs_.answer(seen);
      if (stop_.load(std::memory_order_acquire)) return;
      if (index >= helpers_.load(std::memory_order_relaxed)) continue;
      if (gate_.fetch_add(1, std::memory_order_acq_rel) & kOpen) {
        if (float_mode() != float_mode_) set_float_mode(float_mode_);
        work(index + 1);
      }
      gate_.fetch_sub(1, std::memory_order_acq_rel);
      gradus::detail::give_back_beyond_limit();
    }
  }

  /// The chunks of this thread's own share, then what others have not begun.
  void work(int self) {
    const InJob guard;
    const int count = helpers_.load(std::memory_order_relaxed) + 1;
    for (int i = 0; i < count; ++i) {
      Share& share = shares_[(self + i) % count];
      int64_t chunk;
      while ((chunk = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end) {
        if (failed_.load(std::memory_order_relaxed)) break;
        try {
          body_(context_, chunk);
        } catch (...) {
          if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
        }
      }
    }
  }

  /// Consecutive chunks that one thread begins with: the same part of every array of a size, which
  /// is then still in its core's caches.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  // What a job is; written by its caller before the gate opens.
  void (*body_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  FloatMode float_mode_ = 0;  // the caller's, so that results do not depend on who computes them
  std::exception_ptr error_;
  Share shares_[kMaxThreads];
  alignas(64) std::atomic<uint32_t> gate_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<bool> busy_{false};
  std::atomic<bool> failed_{false}, stop_{false}, started_{false};
  std::atomic<int> helpers_{0};
  SmallJobs small_jobs_;
  std::vector<std::thread> workers_;
  pid_t owner_ = getpid();

  static constinit std::atomic<Pool*> current;
};
constinit std::atomic<Pool*> Pool::current{nullptr};

const gradus::detail::AtFork at_fork(nullptr, [](bool in_child) {
  if (in_child) Pool::forget();
});

/// The cores this process may run on, and no more than its control group's share of them.
int default_threads() {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0
                  ? CPU_COUNT(&set)
                  : static_cast<int>(std::thread::hardware_concurrency());
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    long long quota = 0, period = 0;  // "max 100000" reads as nothing
    if (std::fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
      count = static_cast<int>(std::min<long long>(count, (quota + period - 1) / period));
    std::fclose(file);
  }
  return std::clamp(count, 1, kMaxThreads);
}

constinit std::atomic<int> count_set{0};  // 0: none

}  // namespace

void run_chunks(int64_t chunks, void (*body)(void* context, int64_t chunk), void* context,
                ChunkTime& time) {
  Pool::instance().run(chunks, body, context, time);
}

void on_every_thread(void (*f)()) { Pool::instance().on_every_thread(f); }

SmallJobsInfo small_jobs_info() {
  const SmallJobs& jobs = Pool::instance().small_jobs();
  return {jobs.last_shared(), jobs.chosen_by()};
}

void set_thread_count(int count) {
  check(count >= 1 && count <= kMaxThreads, "set_threads: {} is not between 1 and {}", count,
        kMaxThreads);
  count_set.store(count, std::memory_order_relaxed);
}

int thread_count() {
  const int count = count_set.load(std::memory_order_relaxed);
  if (count != 0) [[likely]]
    return count;
  int none = 0;
  const int by_default = default_threads();
  return count_set.compare_exchange_strong(none, by_default) ? by_default : none;
}

}  // namespace gradus::kernels

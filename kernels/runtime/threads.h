#pragma once
#include <atomic>
#include <cstdint>
#include <type_traits>

namespace gradus::kernels {

/// How many threads a job may use (process-wide; at least 1).
void set_thread_count(int count);
int thread_count();

/// How long a chunk of a loop last took on the calling thread alone; 0: to be timed.
struct ChunkTime {
  std::atomic<int64_t> ns{0};
};

/// Runs body(context, chunk) for chunk = 0 .. chunks-1, spread over the pool, whose threads take
/// over how the calling one rounds; returns when all are done. One thread may run them all, so none
/// may wait for another. Called from inside such a body it runs on the calling thread alone. The
/// first exception is rethrown. A job for one helper is done by the calling thread alone while that
/// one answers slowly, if `time` says that it is small or does not know.
void run_chunks(int64_t chunks, void (*body)(void* context, int64_t chunk), void* context,
                ChunkTime& time);

/// Runs f on the calling thread and, unless they are at another thread's job, on the pool's.
void on_every_thread(void (*f)());

/// Whether small jobs are shared with a helper, and what said so; for `gradus info`.
struct SmallJobsInfo {
  bool shared;
  const char* chosen_by;
};
SmallJobsInfo small_jobs_info();

// A grain is how much of a loop a thread takes at a time: enough to pay for handing it over, some 5
// us of work.
constexpr int64_t kGrain = 1 << 15;             // elements that cost a load, a sum or a product
constexpr int64_t kFunctionGrain = kGrain / 4;  // elements that cost an exp, a root or a division
constexpr int64_t kProductGrain = int64_t{1} << 18;  // multiplications of a matrix product

/// n / size, rounded up.
inline int64_t ceil_div(int64_t n, int64_t size) { return (n + size - 1) / size; }

/// Calls body(begin, end) over consecutive ranges of at most `grain` that cover [0, n). The cut
/// depends on n and grain alone, never on the number of threads.
template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  if (n <= grain) {
    if (n > 0) body(int64_t{0}, n);
    return;
  }
  struct Job {
    std::remove_reference_t<Body>& body;
    int64_t n, grain;
  } job{body, n, grain};
  static constinit ChunkTime time;
  run_chunks(
      ceil_div(n, grain),
      [](void* context, int64_t chunk) {
        const Job& j = *static_cast<Job*>(context);
        const int64_t begin = chunk * j.grain;
        j.body(begin, begin + j.grain < j.n ? begin + j.grain : j.n);
      },
      &job, time);
}

/// How many rows of `size` elements hold `grain`; at least one.
inline int64_t per_grain(int64_t size, int64_t grain) {
  return size >= grain ? 1 : grain / (size > 0 ? size : 1);
}

/// parallel_for over rows of `size` elements, about `grain` elements at a time. What is small is
/// spared the division.
template <class Body>
void parallel_for_rows(int64_t rows, int64_t size, int64_t grain, Body&& body) {
  parallel_for(rows, rows * size <= grain ? rows : per_grain(size, grain), body);
}

}  // namespace gradus::kernels

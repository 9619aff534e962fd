#define BOOST_TEST_MODULE threads
#include <gradus/base/error.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>
#include <gradus/tensor/runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace gradus;
using kernels::parallel_for;

namespace {

// Chunks that wait for each other: where the caller does a job alone they would wait for good.
const int shared = setenv("GRADUS_SMALL_JOBS", "shared", 1);

struct Counts {
  explicit Counts(int64_t n) : of(static_cast<size_t>(n)) {}
  void add(int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) of[static_cast<size_t>(i)].fetch_add(1);
  }
  bool all_once() const {
    for (const auto& x : of)
      if (x.load() != 1) return false;
    return true;
  }
  std::vector<std::atomic<int>> of;
};

}  // namespace

BOOST_AUTO_TEST_CASE(every_element_once) {
  for (int count : {1, 2, 3, 7}) {
    set_threads(count);
    BOOST_TEST(threads() == count);
    for (int64_t n : {0, 1, 6, 7, 8, 1000, 1001}) {
      Counts seen(n);
      std::atomic<bool> fits{true};
      parallel_for(n, 7, [&](int64_t begin, int64_t end) {
        if (begin >= end || end - begin > 7) fits = false;
        seen.add(begin, end);
      });
      BOOST_TEST(seen.all_once());
      BOOST_TEST(fits.load());
    }
  }
}

BOOST_AUTO_TEST_CASE(the_cut_does_not_depend_on_the_thread_count) {
  const auto cut = [](int count) {
    set_threads(count);
    std::mutex mutex;
    std::set<std::pair<int64_t, int64_t>> ranges;
    parallel_for(103, 10, [&](int64_t begin, int64_t end) {
      const std::lock_guard lock(mutex);
      ranges.emplace(begin, end);
    });
    return ranges;
  };
  const auto one = cut(1);
  BOOST_TEST(one.size() == 11u);
  BOOST_TEST((one == cut(2)));
  BOOST_TEST((one == cut(5)));
}

BOOST_AUTO_TEST_CASE(helpers_really_help) {
  set_threads(3);
  // Each chunk waits until all three run, so one thread alone would not get past the first.
  std::atomic<int> arrived{0};
  parallel_for(3, 1, [&](int64_t, int64_t) {
    arrived.fetch_add(1);
    while (arrived.load() < 3) std::this_thread::yield();
  });
  BOOST_TEST(arrived.load() == 3);
}

// The same part of an array meets the same thread in every job.
BOOST_AUTO_TEST_CASE(each_thread_begins_with_its_own_share) {
  set_threads(3);
  for (int job = 0; job < 10; ++job) {
    std::atomic<int> arrived{0};
    std::vector<std::thread::id> by(12);
    parallel_for(12, 1, [&](int64_t chunk, int64_t) {
      by[static_cast<size_t>(chunk)] = std::this_thread::get_id();
      arrived.fetch_add(1);
      while (arrived.load() < 3) std::this_thread::yield();
    });
    BOOST_TEST((by[0] == std::this_thread::get_id()));
    BOOST_TEST((by[4] != by[0] && by[8] != by[0] && by[4] != by[8]));
    static const std::vector<std::thread::id> first = by;
    BOOST_TEST((by[4] == first[4] && by[8] == first[8]));
  }
}

BOOST_AUTO_TEST_CASE(every_thread_once) {
  set_threads(3);
  parallel_for(3, 1, [](int64_t, int64_t) {});  // so that there are two helpers at least
  static std::mutex mutex;
  static std::multiset<std::thread::id> ids;
  for (int round = 0; round < 20; ++round) {
    ids.clear();
    if (round % 5 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    kernels::on_every_thread([] {
      const std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    });
    BOOST_TEST(ids.size() >= 3u);
    BOOST_TEST(ids.size() == std::set(ids.begin(), ids.end()).size());
    BOOST_TEST(ids.count(std::this_thread::get_id()) == 1u);
  }
}

BOOST_AUTO_TEST_CASE(nested_jobs_run_on_the_calling_thread) {
  set_threads(3);
  Counts seen(20 * 30);
  std::atomic<bool> moved{false};
  parallel_for(20, 1, [&](int64_t i, int64_t) {
    const auto here = std::this_thread::get_id();
    parallel_for(30, 1, [&](int64_t j, int64_t) {
      if (std::this_thread::get_id() != here) moved = true;
      seen.add(i * 30 + j, i * 30 + j + 1);
    });
  });
  BOOST_TEST(seen.all_once());
  BOOST_TEST(!moved.load());
}

BOOST_AUTO_TEST_CASE(callers_at_the_same_time_all_finish) {
  set_threads(3);
  constexpr int kCallers = 4, kJobs = 300;
  std::atomic<int64_t> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < kCallers; ++c)
    callers.emplace_back([&] {
      for (int job = 0; job < kJobs; ++job) {
        int64_t plain[17] = {};  // not atomic: what helpers wrote must be visible to the caller
        parallel_for(17, 1, [&](int64_t begin, int64_t) { plain[begin] = begin; });
        for (int64_t x : plain) total += x;
      }
    });
  for (auto& caller : callers) caller.join();
  BOOST_TEST(total.load() == int64_t{kCallers} * kJobs * 136);
}

BOOST_AUTO_TEST_CASE(an_exception_reaches_the_caller_and_the_pool_lives_on) {
  for (int count : {1, 3}) {
    set_threads(count);
    for (int round = 0; round < 50; ++round) {
      BOOST_CHECK_EXCEPTION(parallel_for(40, 1,
                                         [](int64_t i, int64_t) {
                                           if (i == 13) throw std::runtime_error("thirteen");
                                         }),
                            std::runtime_error,
                            [](const auto& e) { return std::string(e.what()) == "thirteen"; });
      Counts seen(40);
      parallel_for(40, 1, [&](int64_t begin, int64_t end) { seen.add(begin, end); });
      BOOST_TEST(seen.all_once());
    }
  }
}

// What trim() takes is no one's just then.
BOOST_AUTO_TEST_CASE(trim_beside_jobs_and_scratch_memory_of_other_threads) {
  set_threads(3);
  std::atomic<bool> stop{false};
  std::atomic<int64_t> wrong{0};
  const auto work = [&](int64_t seed) {
    for (int64_t round = 0; !stop; ++round) {
      const int64_t size = 100 + 300 * ((round + seed) % 50);
      parallel_for(6, 1, [&](int64_t chunk, int64_t) {
        int64_t* const mine = kernels::workspace<int64_t, struct Scratch>(size);
        std::fill_n(mine, size, seed + chunk);
        if (std::count(mine, mine + size, seed + chunk) != size) ++wrong;
      });
    }
  };
  std::vector<std::thread> workers;
  for (int64_t seed : {100, 200, 300}) workers.emplace_back(work, seed);
  for (int round = 0; round < 200; ++round) {
    trim();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  stop = true;
  for (std::thread& worker : workers) worker.join();
  BOOST_TEST(wrong.load() == 0);
}

BOOST_AUTO_TEST_CASE(the_count_may_change_between_jobs) {
  for (int round = 0; round < 200; ++round) {
    set_threads(1 + round % 4);
    Counts seen(11);
    parallel_for(11, 2, [&](int64_t begin, int64_t end) { seen.add(begin, end); });
    BOOST_TEST(seen.all_once());
  }
}

BOOST_AUTO_TEST_CASE(a_job_after_the_workers_fell_asleep) {
  set_threads(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    Counts seen(9);
    parallel_for(9, 1, [&](int64_t begin, int64_t end) { seen.add(begin, end); });
    BOOST_TEST(seen.all_once());
  }
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__
#endif
#endif
#if !defined(__SANITIZE_THREAD__)  // which forbids threads after fork
bool forked = false;
// The leak checker's question at exit: a child has what its parent's workers would have freed.
extern "C" int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() { return forked; }

BOOST_AUTO_TEST_CASE(a_forked_child_computes_and_exits) {
  set_threads(3);
  parallel_for(9, 1, [](int64_t, int64_t) {});
  std::cout.flush();
  const pid_t child = fork();
  if (child == 0) {
    forked = true;
    alarm(20);
    Counts seen(9);
    parallel_for(9, 1, [&](int64_t begin, int64_t end) { seen.add(begin, end); });
    std::exit(seen.all_once() ? 0 : 1);
  }
  int status = -1;
  BOOST_REQUIRE(waitpid(child, &status, 0) == child);
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(WEXITSTATUS(status) == 0);
}
#endif

BOOST_AUTO_TEST_CASE(a_count_below_one_is_an_error) {
  BOOST_CHECK_THROW(set_threads(0), Error);
  BOOST_CHECK_THROW(set_threads(-3), Error);
}

#pragma once
#include <gradus/base/error.h>
#include <gradus/tensor/runtime.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstddef>
#include <new>

// A malloc that refuses a request. For one source of a program; a sanitizer's malloc has none.
namespace gradus::test {

/// How many of the process's requests are granted before one is refused; below 0: all.
inline constinit std::atomic<int64_t> granted{-1};
inline constinit std::atomic<bool> refuses_for_good{false}, refused{false};

inline bool refuse() {
  if (granted < 0 || granted-- > 0) return false;
  granted = refuses_for_good ? 0 : -1;
  refused = true;
  return true;
}

}  // namespace gradus::test

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void* malloc(size_t n) { return gradus::test::refuse() ? nullptr : __libc_malloc(n); }
void* calloc(size_t n, size_t size) {
  return gradus::test::refuse() ? nullptr : __libc_calloc(n, size);
}
void* realloc(void* p, size_t n) { return gradus::test::refuse() ? nullptr : __libc_realloc(p, n); }
void* memalign(size_t alignment, size_t n) {
  return gradus::test::refuse() ? nullptr : __libc_memalign(alignment, n);
}
void* aligned_alloc(size_t alignment, size_t n) { return memalign(alignment, n); }
int posix_memalign(void** p, size_t alignment, size_t n) {
  *p = memalign(alignment, n);
  return *p ? 0 : ENOMEM;
}
}

namespace gradus::test {

/// What became of a call with a request refused.
struct Fault {
  bool refused = false;  ///< whether it made so many
  bool threw = false;    ///< bad_alloc or Error: anything else is an error
};

/// f() with request k, and all after it if `for_good`, refused.
template <class F>
Fault with_fault(int64_t k, bool for_good, F f) {
  Fault fault;
  refused = false;
  refuses_for_good = for_good;
  granted = k;
  try {
    f();
  } catch (const std::bad_alloc&) {
    fault.threw = true;
  } catch (const Error&) {
    fault.threw = true;
  } catch (...) {
    granted = -1;
    BOOST_ERROR("neither bad_alloc nor Error at request " << k);
    fault.threw = true;
  }
  granted = -1;
  fault.refused = refused;
  return fault;
}

/// test(k, for_good) for k = 0, 1, ... while it returns true, with one refusal and with all from
/// there on; returns how many there were.
template <class Test>
int64_t each_fault(Test test) {
  set_cache_limit(0);  // the free lists would grant some themselves
  int64_t count = 0;
  for (const bool for_good : {false, true}) {
    int64_t k = 0;
    do trim();  // what threads keep
    while (test(k++, for_good) && k < 100'000);
    BOOST_TEST(k < 100'000, "it never goes through");
    count += k - 1;
  }
  set_cache_limit(size_t{1} << 30);
  return count;
}

}  // namespace gradus::test

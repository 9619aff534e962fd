#pragma once
// Updates in place, element by element, by a rule that the caller writes. For sources compiled with
// simd_options of cmake/library.cmake.

#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>

#include <cstdint>

namespace gradus::kernels {
namespace {  // what is compiled for an instruction set may not stand for the same code elsewhere

// One loop for each instruction set. The rule is inlined (flatten), and so compiled for it. The
// loop has a copy of the rule, so that the compiler sees that no store changes what the rule
// captured.

template <class Rule, class... X>
[[gnu::flatten, gnu::noinline]] void update_baseline(int64_t n, Rule rule, X* __restrict... x) {
  for (int64_t i = 0; i < n; ++i) rule(x[i]...);
}

#if defined(__x86_64__)
template <class Rule, class... X>
[[gnu::target("avx2,fma"), gnu::flatten, gnu::noinline]] void update_avx2(int64_t n, Rule rule,
                                                                          X* __restrict... x) {
  for (int64_t i = 0; i < n; ++i) rule(x[i]...);
}

template <class Rule, class... X>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,fma"), gnu::flatten, gnu::noinline]] void
update_avx512(int64_t n, Rule rule, X* __restrict... x) {
  for (int64_t i = 0; i < n; ++i) rule(x[i]...);
}
#endif

/// update() on the calling thread with the instructions of `isa`, which the processor must have, or
/// of the nearest level below that has a loop here.
template <class Rule, class... X>
void update_at([[maybe_unused]] Isa isa, int64_t n, const Rule& rule, X*... x) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) return update_avx512(n, rule, x...);
  if (isa >= Isa::avx2) return update_avx2(n, rule, x...);
#endif
  update_baseline(n, rule, x...);
}

/// rule(x[i]...) for each i, where the rule takes what it changes by reference; a thread takes
/// `grain` elements at a time.   x: (n), not overlapping, unless the rule leaves one of the two
/// alone
template <class Rule, class... X>
void update(int64_t n, int64_t grain, const Rule& rule, X*... x) {
  const Isa isa = active_isa();
  if (n <= grain) return update_at(isa, n, rule, x...);
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    update_at(isa, end - begin, rule, (x + begin)...);
  });
}

}  // namespace
}  // namespace gradus::kernels

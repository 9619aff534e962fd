#pragma once
// One binary for every x86-64: *.simd.cc are compiled once per level below, and the best level the
// processor has is chosen when a kernel is first asked for.

#include <gradus/base/error.h>
#include <gradus/kernels/runtime/types.h>

#include <atomic>

namespace gradus::kernels {

enum class Isa { baseline, avx2, avx512 };

/// The best level this processor has, or the one that GRADUS_ISA=baseline|avx2|avx512 names if the
/// processor has it. Decided once.
Isa active_isa();
/// Whether this binary has code for `isa` and the processor can run it.
bool supports(Isa isa);
const char* name(Isa isa);

/// The kernels of one family (a struct of function pointers, e.g. `NormKernels<float>`) compiled
/// for one level. Specialized in kernels/<family>/*.simd.cc, which sees the level as GRADUS_ISA.
/// Everything else in those sources has internal linkage, so that no code compiled for AVX-512 is
/// ever picked by the linker to stand for the same inline function elsewhere.
template <class Table, Isa isa>
const Table& table_for();

// At the end of such a source: table_for<Family<T>> is table<T> for each floating T.
#define GRADUS_TABLES(Family, table) GRADUS_FOR_FLOATING(GRADUS_TABLE, Family, table)
#define GRADUS_TABLE(T, Family, table)                       \
  template <>                                                \
  const Family<T>& table_for<Family<T>, Isa::GRADUS_ISA>() { \
    return table<T>;                                         \
  }

template <class Table>
const Table& table_for(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::avx512:
      return table_for<Table, Isa::avx512>();
    case Isa::avx2:
      return table_for<Table, Isa::avx2>();
    case Isa::baseline:
      break;
  }
#else
  (void)isa;
#endif
  return table_for<Table, Isa::baseline>();
}

/// Apart from kernels(), which is inlined.
template <class Table>
[[gnu::noinline]] const Table* best_table() {
  return &table_for<Table>(active_isa());
}

/// The family's kernels for this processor: `kernels<NormKernels<float>>().layer_norm(...)`.
template <class Table>
const Table& kernels() {
  static constinit std::atomic<const Table*> chosen = nullptr;
  const Table* table = chosen.load(std::memory_order_relaxed);
  if (!table) [[unlikely]]
    chosen.store(table = best_table<Table>(), std::memory_order_relaxed);
  return *table;
}

}  // namespace gradus::kernels

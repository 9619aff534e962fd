#pragma once
// One binary for every processor of an architecture: *.simd.cc are compiled once per level, and the
// best level the processor has is chosen when a kernel is first asked for.

#include <gradus/kernels/runtime/types.h>
#include <gradus_levels.h>

#include <atomic>

namespace gradus::kernels {

// GRADUS_LEVELS is the list in cmake/library.cmake, a GRADUS_LEVEL(name, can_run) for each.
#define GRADUS_LEVEL(name, can_run) name,
/// Weakest first.
enum class Isa { GRADUS_LEVELS };
#undef GRADUS_LEVEL
#define GRADUS_LEVEL(name, can_run) Isa::name,
constexpr Isa kLevels[] = {GRADUS_LEVELS};
#undef GRADUS_LEVEL

/// The best level this processor has, or the one that GRADUS_ISA=baseline|avx2|avx512 names if the
/// processor has it. Decided once.
Isa active_isa();
/// Whether the processor can run `isa`.
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
  using Function = const Table& (*)();
#define GRADUS_LEVEL(name, can_run) table_for<Table, Isa::name>,
  constexpr Function functions[] = {GRADUS_LEVELS};
#undef GRADUS_LEVEL
  return functions[static_cast<int>(isa)]();
}

/// Apart from kernels(), which is inlined.
template <class Table>
[[gnu::noinline]] const Table* best_table() {
  return &table_for<Table>(active_isa());
}

/// The family's kernels for this processor: `kernels<NormKernels<float>>().row_norm(...)`.
template <class Table>
const Table& kernels() {
  static constinit std::atomic<const Table*> chosen = nullptr;
  const Table* table = chosen.load(std::memory_order_relaxed);
  if (!table) [[unlikely]]
    chosen.store(table = best_table<Table>(), std::memory_order_relaxed);
  return *table;
}

}  // namespace gradus::kernels

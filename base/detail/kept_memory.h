#pragma once
// What a thread keeps for later, and how it goes back to the system.

#include <cstddef>
#include <cstdint>

namespace gradus::detail {

/// Something beside the free lists that threads keep for later. `give_back` returns to the system
/// what the calling thread keeps and what no thread holds. Lives as long as the program.
struct Keeper {
  explicit Keeper(void (*give_back_)() noexcept);
  void (*give_back)() noexcept;
  Keeper* next;
};

/// Counts what a keeper keeps for this thread, in bytes more.
void count_kept(int64_t bytes);
/// Whether this thread may keep so many bytes more.
bool may_keep(size_t bytes);

/// How many bytes each thread may keep, free blocks and keepers together; 1 GiB unless set.
void limit_kept(size_t bytes);
/// Free blocks, the largest first, and if that is not enough what keepers keep, go back to the
/// system until this thread keeps no more than it may.
void give_back_beyond_limit() noexcept;
/// All that this thread keeps goes back.
void give_back_all() noexcept;

}  // namespace gradus::detail

#pragma once
// What is kept for later, and how it goes back to the system.

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
/// Whether keepers may keep so many bytes more for this thread.
bool may_keep(size_t bytes);

/// How many bytes may be kept: by the keepers for each thread, and in free blocks for all together;
/// 1 GiB unless set. Free blocks that a thread has for itself count as kept from when it next makes
/// or releases a tensor, or from give_back_own().
void limit_kept(size_t bytes);
/// If the keepers keep more for this thread than they may, all of it goes back.
void give_back_beyond_limit() noexcept;
/// All that this thread keeps goes back.
void give_back_own() noexcept;
/// The free blocks that no thread has for itself go back, and what malloc keeps; other threads'
/// blocks when they next make or release a tensor.
void give_back_shared() noexcept;

}  // namespace gradus::detail

#include <gradus/tensor/kernels/threads.h>
#include <gradus/tensor/kernels/workspace.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

namespace gradus::kernels::detail {

namespace {

struct SpareBlock {
  SpareBlock* next;
};

constexpr int kSizes = 64;  // powers of two

// Trivially destructible: threads end after static destructors too.
constinit std::mutex mutex;
constinit SpareBlock* spares[kSizes] = {};
constinit int64_t allocated[kSizes] = {};
constinit thread_local int64_t held[kSizes] = {};
constinit thread_local WorkspaceBlock* blocks = nullptr;

void put(void* memory, int log) {
  auto* spare = static_cast<SpareBlock*>(memory);
  spare->next = spares[log];
  spares[log] = spare;
}

void* take(int log) {
  const std::lock_guard lock(mutex);
  for (const int64_t wanted = (held[log] + 1) * threads(); allocated[log] < wanted || !spares[log];
       ++allocated[log]) {
    void* memory = std::aligned_alloc(64, size_t{1} << log);
    if (!memory) throw std::bad_alloc();
    put(memory, log);
  }
  SpareBlock* spare = spares[log];
  spares[log] = spare->next;
  ++held[log];
  return spare;
}

void give(const WorkspaceBlock& block) {
  const int log = std::bit_width(static_cast<uint64_t>(block.bytes)) - 1;
  const std::lock_guard lock(mutex);
  put(block.memory, log);
  --held[log];
}

struct AtThreadEnd {
  ~AtThreadEnd() {
    for (; blocks; blocks = blocks->next) {
      give(*blocks);
      blocks->memory = nullptr;
      blocks->bytes = 0;
    }
  }
};

}  // namespace

void give_back_at_thread_end() {
  static thread_local AtThreadEnd at_thread_end;
  (void)at_thread_end;
}

void grow(WorkspaceBlock& block, int64_t bytes) {
  const int log = std::max(6, static_cast<int>(std::bit_width(static_cast<uint64_t>(bytes - 1))));
  void* memory = take(log);
  if (block.memory) {
    give(block);
  } else {
    give_back_at_thread_end();
    block.next = blocks;
    blocks = &block;
  }
  block.memory = memory;
  block.bytes = int64_t{1} << log;
}

}  // namespace gradus::kernels::detail

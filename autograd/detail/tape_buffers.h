#pragma once
#include <gradus/autograd/op.h>
#include <gradus/tensor/tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

// What a tape holds: for tape.cc alone.
namespace gradus::detail {

constexpr uint32_t kNone = UINT32_MAX;  // no node

/// One output of one recorded operation, or a leaf. An op of several outputs has consecutive nodes;
/// the first carries the op, its edges and what it kept.
struct Node {
  Node(const Op* recorded, const Tensor& y, uint32_t count)
      : op(recorded), outputs(count), dtype(y.dtype()), shape(y.shape()) {}

  const Op* op;  // null: a leaf, or a further output
  const void* attrs = nullptr;
  uint32_t first_edge = 0, first_kept = 0;  // a leaf's first_edge: its place among the leaves
  uint32_t edges = 0, kept = 0, outputs;    // no outputs: a further one
  DType dtype;
  bool swept = false, reached = false;
  Shape shape;
};

struct Leaf {
  Tensor tensor;
  uint32_t node, version;
};

struct Kept {
  Tensor tensor;
  uint32_t version;
};

/// Memory for copies of attributes, freed all at once.
class Arena {
 public:
  const void* copy(const void* bytes, size_t size) {
    const size_t room = (size + 15) / 16 * 16;
    if (room > room_) return copy_elsewhere(bytes, size);
    room_ -= room;
    return std::memcpy(std::exchange(next_, next_ + room), bytes, size);
  }
  void clear() {
    used_ = room_ = 0;
    large_.clear();
  }
  size_t capacity() const { return chunks_.size() * kChunk; }

 private:
  static constexpr size_t kChunk = 1 << 14;
  const void* copy_elsewhere(const void* bytes, size_t size) {
    if (size > kChunk) {
      large_.push_back(std::make_unique<char[]>(size));
      return std::memcpy(large_.back().get(), bytes, size);
    }
    if (used_ == chunks_.size()) chunks_.push_back(std::make_unique<char[]>(kChunk));
    next_ = chunks_[used_++].get();
    room_ = kChunk;
    return copy(bytes, size);
  }
  std::vector<std::unique_ptr<char[]>> chunks_, large_;
  size_t used_ = 0;       // chunks, the last of which has ...
  char* next_ = nullptr;  // ... from here on ...
  size_t room_ = 0;       // ... so many bytes left
};

/// Leaf tensor -> node, by open addressing. Slots of an earlier round than this one are free.
class LeafMap {
 public:
  uint32_t find(const void* id) const {
    if (size_ == 0) return kNone;
    const Slot& slot = slots_[place_of(id)];
    return slot.round == round_ ? slot.node : kNone;
  }
  /// The node of a leaf, or `next`, which it then is.
  uint32_t find_or_insert(const void* id, uint32_t next) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place_of(id)];
    if (slot.round != round_) {
      slot = {id, next, round_};
      ++size_;
    }
    return slot.node;
  }
  /// Takes back what was inserted last.
  void erase_last(const void* id) {
    slots_[place_of(id)] = {};
    --size_;
  }
  void clear() {
    size_ = 0;
    if (++round_ != 0) return;
    std::fill(slots_.begin(), slots_.end(), Slot{});
    round_ = 1;
  }
  size_t capacity() const { return slots_.size() * sizeof(Slot); }

 private:
  struct Slot {
    const void* id = nullptr;
    uint32_t node = 0, round = 0;
  };
  /// Where id is, or may be put.
  size_t place_of(const void* id) const {
    const size_t last = slots_.size() - 1;
    size_t i = (reinterpret_cast<uintptr_t>(id) * 0x9E3779B97F4A7C15u >> 32) & last;
    while (slots_[i].round == round_ && slots_[i].id != id) i = (i + 1) & last;
    return i;
  }
  void grow() {
    std::vector<Slot> old(std::max<size_t>(64, 2 * slots_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.round == round_) slots_[place_of(slot.id)] = slot;
    }
  }
  std::vector<Slot> slots_;
  size_t size_ = 0;
  uint32_t round_ = 1;
};

struct TapeBuffers {
  std::vector<Node> nodes;
  std::vector<uint32_t> edges;  // node of each input; kNone: needs no gradient
  std::vector<Kept> kept;
  std::vector<Leaf> leaves;
  bool hidden_leaves = false;     // whether one was of ParameterState::hidden
  std::vector<Tensor> grads;      // of a running sweep, by node
  std::vector<uint8_t> useful;    // of a running gradient(), by node: an x, or on a path to one
  std::vector<uint32_t> targets;  // of a running gradient(): the xs' nodes
  Arena arena;
  LeafMap leaf_map;
  TapeBuffers* next_spare = nullptr;
  int64_t spare_bytes = 0;

  void clear() {
    nodes.clear();
    edges.clear();
    kept.clear();
    leaves.clear();
    hidden_leaves = false;
    arena.clear();
    leaf_map.clear();
  }
  /// Of what stays when they are cleared.
  int64_t bytes() const {
    const auto of = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    return static_cast<int64_t>(of(nodes) + of(edges) + of(kept) + of(leaves) + of(grads) +
                                of(useful) + of(targets) + arena.capacity() + leaf_map.capacity());
  }
};

}  // namespace gradus::detail

#include <gradus/autograd/detail/tape_buffers.h>
#include <gradus/autograd/tape.h>
#include <gradus/base/detail/kept_memory.h>

#include <algorithm>
#include <atomic>
#include <cassert>

namespace gradus {

namespace detail {

[[gnu::tls_model("initial-exec")]] constinit thread_local Tape* recorder = nullptr;
[[gnu::tls_model("initial-exec")]] constinit thread_local RecordObserver* observer = nullptr;

namespace {

// What TapeBuffers::useful holds, ored; kMissing: no gradient arrived, but dy() may have put zeros
// there.
constexpr uint8_t kAsked = 1, kOnPath = 2, kMissing = 4;

/// Cleared buffers of ended tapes: a training loop's tapes stop asking for memory. A plain pointer,
/// as every thread-local variable here, since access to it is then one load.
[[gnu::tls_model("initial-exec")]] constinit thread_local TapeBuffers* spares = nullptr;
constexpr size_t kLargestSpare = 1 << 18;  // nodes; beyond, memory goes back

std::unique_ptr<TapeBuffers> take_spare() {
  TapeBuffers* const spare = spares;
  if (spare) {
    spares = std::exchange(spare->next_spare, nullptr);
    count_kept(-spare->spare_bytes);
  }
  return std::unique_ptr<TapeBuffers>(spare);
}

void drop_spares() noexcept {
  while (take_spare()) {
  }
}
const Keeper keeper(drop_spares);

struct SpareOwner {
  ~SpareOwner() { drop_spares(); }
};

std::unique_ptr<TapeBuffers> take_buffers() {
  if (auto spare = take_spare()) return spare;
  static thread_local const SpareOwner at_thread_end;
  return std::make_unique<TapeBuffers>();
}

void give_back(std::unique_ptr<TapeBuffers> buffers) {
  buffers->clear();
  buffers->spare_bytes = buffers->bytes();
  if (buffers->nodes.capacity() > kLargestSpare ||
      !may_keep(static_cast<size_t>(buffers->spare_bytes)))
    return;
  count_kept(buffers->spare_bytes);
  buffers->next_spare = spares;
  spares = buffers.release();
}

[[gnu::tls_model("initial-exec")]] constinit thread_local Tape* innermost = nullptr;
std::atomic<uint64_t> last_serial{0};

std::string describe(const Tensor& x) {
  return fmt::format("{}{}{} {}", x.name(), x.name().empty() ? "" : " ", x.shape(),
                     name(x.dtype()));
}

}  // namespace
}  // namespace detail

using detail::kAsked, detail::kMissing, detail::kNone, detail::kOnPath;
using detail::Node;

Tape::Tape()
    : serial_(++detail::last_serial),
      thread_(&detail::innermost),
      outer_(detail::innermost),
      outer_recorder_(detail::recorder),
      b_(detail::take_buffers()) {
  detail::innermost = detail::recorder = this;
}

Tape::~Tape() {
  check(detail::innermost == this,
        "Tape: it must end on the thread it began on, and after those that began later");
  detail::innermost = outer_;
  detail::recorder = outer_recorder_;
  detail::give_back(std::move(b_));
}

Tape* Tape::current() { return detail::innermost; }
size_t Tape::size() const { return b_->nodes.size(); }

void Tape::check_thread(const char* what) const {
  check(thread_ == &detail::innermost, "{}: this tape belongs to another thread", what);
}

uint32_t Tape::leaf_node(const Tensor& x) {
  detail::TapeBuffers& b = *b_;
  const uint32_t next = static_cast<uint32_t>(b.nodes.size());
  const uint32_t node = b.leaf_map.find_or_insert(x.id(), next);
  if (node != next) return node;
  const size_t place = b.leaves.size();
  try {
    b.leaves.push_back({x, node, x.version()});
    b.nodes.emplace_back(nullptr, x, 1).first_edge = static_cast<uint32_t>(place);
  } catch (...) {
    b.leaves.resize(place);
    b.leaf_map.erase_last(x.id());
    throw;
  }
  b.hidden_leaves |= x.parameter_state() == ParameterState::hidden;
  return node;
}

int64_t Tape::find(const Tensor& x) const {
  if (x.tape() == serial_) return x.node();
  const uint32_t leaf = b_->leaf_map.find(x.id());
  return leaf == kNone ? int64_t{-1} : int64_t{leaf};
}

void record_outputs(const Op& op, std::span<Tensor* const> outputs, TensorRefs inputs,
                    TensorRefs keep, const void* attrs, size_t attrs_size) {
  Tape* tape = detail::recorder;
  if (!tape) return;
  detail::TapeBuffers& b = *tape->b_;
  check(b.nodes.size() + outputs.size() + inputs.size() < kNone,
        "{}: a tape holds up to 2^32 - 1 nodes", op.name);

  const uint32_t first_edge = static_cast<uint32_t>(b.edges.size());
  const uint32_t first_kept = static_cast<uint32_t>(b.kept.size());
  bool any = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& x = inputs[i];
    uint32_t node = kNone;
    if (x && x.tape() == tape->serial())
      node = x.node();
    else if (x && x.requires_grad())
      node = tape->leaf_node(x);
    b.edges.push_back(node);
    any = any || node != kNone;
  }
  if (!any) {
    b.edges.resize(first_edge);
    return;
  }
  // An op is on the tape whole or not at all. (Edges that are no node's do no harm.)
  const size_t first = b.nodes.size();
  const void* copied = nullptr;
  try {
    if (attrs_size) copied = b.arena.copy(attrs, attrs_size);
    for (size_t i = 0; i < keep.size(); ++i) {
      const Tensor& x = keep[i];
      b.kept.push_back({x, x ? x.version() : 0});
    }
    for (size_t i = 0; i < outputs.size(); ++i)
      b.nodes.emplace_back(i == 0 ? &op : nullptr, *outputs[i],
                           i == 0 ? static_cast<uint32_t>(outputs.size()) : 0);
  } catch (...) {
    b.kept.resize(first_kept);
    b.nodes.erase(b.nodes.begin() + static_cast<std::ptrdiff_t>(first), b.nodes.end());
    throw;
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    outputs[i]->set_recorded(tape->serial(), static_cast<uint32_t>(first + i));
  Node& node = b.nodes[first];
  node.attrs = copied;
  node.first_edge = first_edge;
  node.first_kept = first_kept;
  node.edges = static_cast<uint32_t>(inputs.size());
  node.kept = static_cast<uint32_t>(keep.size());
  if (detail::observer) [[unlikely]]
    detail::observer->recorded(op, outputs);
}

uint32_t Tape::root_of(const char* what, const Tensor& y, const SweepOptions& options) {
  check_thread(what);
  check(static_cast<bool>(y), "{}: given an empty Tensor", what);
  check(options.dy || y.numel() == 1,
        "{}: the starting tensor has shape {}, not one element; reduce it (sum, mean) or give the "
        "gradient to start from as options.dy",
        what, y.shape());
  if (options.dy && (options.dy.shape() != y.shape() || options.dy.dtype() != y.dtype()))
    fail("{}: options.dy is {} where the starting tensor is {}", what, detail::describe(options.dy),
         detail::describe(y));
  if (y.tape() != serial_ && y.requires_grad()) return leaf_node(y);
  if (y.tape() != serial_)
    fail("{}: {} is not recorded on this tape: {}", what, detail::describe(y),
         y.tape() ? "it is a result of another tape"
                  : "none of its inputs requires a gradient, it came through functions without one "
                    "(sign, comparisons, indices), or no tape was recording");
  return y.node();
}

// The gradients of a running sweep, dropped however it ends. A backward may start a sweep of its
// own: it puts the outer one's aside.
struct Tape::Sweep {
  explicit Sweep(Tape& tape, CreateGraph create_graph)
      : b(*tape.b_), recorder(std::exchange(detail::recorder, nullptr)) {
    if (!b.grads.empty()) exchange();
    if (create_graph == CreateGraph::yes) detail::recorder = &tape;
  }
  ~Sweep() {
    detail::recorder = recorder;
    b.grads.clear();
    b.useful.clear();
    b.targets.clear();
    if (!grads.empty()) exchange();
  }
  void exchange() {
    grads.swap(b.grads);
    useful.swap(b.useful);
    targets.swap(b.targets);
  }
  detail::TapeBuffers& b;
  Tape* recorder;
  std::vector<Tensor> grads;  // of the outer sweep
  std::vector<uint8_t> useful;
  std::vector<uint32_t> targets;
};

// y = a + b, or a in memory of its own where there is no b:  da = db = dy
static Op accumulate_op("accumulate", [](Backward& ctx) {
  for (int i = 0; i < 2; ++i)
    if (ctx.needs(i)) ctx.set(i, ctx.dy());
});

/// What gradients that meet in a tensor add up to, on the tape of a sweep that records itself.
static Tensor accumulated(const Tensor& a, const Tensor& b = {}) {
  return record(accumulate_op, b ? raw::add(a, b) : raw::clone(a), {a, b});
}

/// Whether what is added to x where it lies is seen by nobody else.
static bool is_own(const Tensor& x) { return x.is_unshared() && x.is_contiguous(); }

void Tape::accumulate(uint32_t node, Tensor&& gradient) {
  Tensor& sum = b_->grads[node];
  if (!sum)
    sum = std::move(gradient);
  else if (detail::recorder || !is_own(sum))
    sum = accumulated(sum, gradient);
  else
    raw::accumulate(gradient, sum);
}

void Tape::show_swept(const Op& op, uint32_t n) {
  const Node& node = b_->nodes[n];
  for (uint32_t i = 0; i < node.edges; ++i) {
    const uint32_t input = b_->edges[node.first_edge + i];
    if (input != kNone && b_->grads[input]) detail::observer->swept(op, b_->grads[input]);
  }
}

void Tape::sweep(uint32_t root, const Tensor& y, const SweepOptions& options, bool along_paths) {
  const bool keep_graph = options.keep_graph || options.create_graph == CreateGraph::yes;
  b_->grads.resize(b_->nodes.size());
  b_->grads[root] = options.dy ? options.dy : ones_like(y);
  for (uint32_t n = root + 1; n-- > 0;) {
    Node& node = b_->nodes[n];
    if (along_paths && !b_->useful[n]) continue;
    bool any = static_cast<bool>(b_->grads[n]);
    for (uint32_t i = 1; i < node.outputs && !any; ++i) any = static_cast<bool>(b_->grads[n + i]);
    if (!any) continue;
    node.reached = true;
    if (!node.op || (along_paths && !(b_->useful[n] & kOnPath))) continue;
    check(
        !node.swept,
        "{}: a second sweep over its node {}: what it kept is gone; where backward or gradient is "
        "called twice on a tape, the first must be told keep_graph or CreateGraph::yes",
        node.op->name, n);
    const auto is_result = [&](uint32_t i) {  // of gradient(): asked for, and a gradient arrived
      return along_paths && (b_->useful[n + i] & (kAsked | kMissing)) == kAsked;
    };
    for (uint32_t i = 0; along_paths && i < node.outputs; ++i)
      if (!b_->grads[n + i]) b_->useful[n + i] |= kMissing;
    const Op& op = *node.op;
    Backward ctx(*this, n);
    try {
      op.backward(ctx);  // may grow nodes: `node` is not used after it
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      fail("{}: its backward threw: {}", op.name, error.what());
    }
    if (detail::observer) [[unlikely]]
      show_swept(op, n);
    for (uint32_t i = b_->nodes[n].outputs; i-- > 0;) {
      if (!is_result(i)) b_->grads[n + i] = {};
    }
    if (keep_graph) continue;
    Node& done = b_->nodes[n];
    done.swept = true;
    for (uint32_t i = 0; i < done.kept; ++i) b_->kept[done.first_kept + i].tensor = {};
  }
}

/// Whether a sweep adds to a leaf's gradient where it lies.
static bool adds_in_place(const Tensor& sum) {
  return sum && !detail::recorder && sum.is_contiguous() && sum.tape() == 0;
}

/// Makes of what reached a leaf what add() needs no memory for, unless it is that.
void Tape::prepare(Tensor& leaf, Tensor& gradient) {
  if (const Tensor& sum = leaf.leaf().grad; !sum) {
    gradient = accumulated(gradient);
  } else if (sum.shape() != gradient.shape() || sum.dtype() != gradient.dtype()) {
    fail("backward: the gradient of leaf {} is {}, not {}; its data was set since",
         detail::describe(leaf), detail::describe(sum), detail::describe(gradient));
  } else if (!adds_in_place(sum)) {
    gradient = accumulated(sum, gradient);
  } else if (!gradient.is_contiguous()) {
    gradient = raw::clone(gradient);
  }
}

void Tape::add(Tensor& leaf, Tensor& gradient) {
  Tensor& sum = leaf.leaf().grad;
  if (adds_in_place(sum))
    raw::accumulate(gradient, sum);
  else
    sum = std::move(gradient);
}

/// An error where a changed leaf was given another shape or dtype since it was used.
void Tape::check_changed(const detail::Leaf& leaf) const {
  const Node& node = b_->nodes[leaf.node];
  if (leaf.tensor.shape() != node.shape || leaf.tensor.dtype() != node.dtype)
    fail("backward: leaf {} was {} {} when it was used; its data was set since",
         detail::describe(leaf.tensor), node.shape, name(node.dtype));
}

void Tape::fail_hidden(const detail::Leaf& leaf) const {
  const char* user = "";
  for (const Node& node : b_->nodes) {
    for (uint32_t i = 0; i < node.edges && !*user; ++i)
      if (b_->edges[node.first_edge + i] == leaf.node && node.op) user = node.op->name;
  }
  fail(
      "backward: parameter {}, which {} uses, gets a gradient, but it is not among the parameters "
      "that modules gave out, so it is neither trained nor saved; show it, or the module that owns "
      "it, in visit(), or ask that module for its parameters(); if it is to stay as it is, use it "
      "under NoRecord, or set_requires_grad(false)",
      detail::describe(leaf.tensor), user);
}

void Tape::backward(const Tensor& loss, const SweepOptions& options) {
  const uint32_t root = root_of("backward", loss, options);
  const Sweep scope(*this, options.create_graph);
  sweep(root, loss, options, false);
  const auto reached = [&](const detail::Leaf& leaf) {
    return leaf.node < b_->grads.size() && b_->grads[leaf.node];
  };
  if (b_->hidden_leaves) [[unlikely]] {
    const auto first = [&](ParameterState state) {
      return std::find_if(b_->leaves.begin(), b_->leaves.end(), [&](const detail::Leaf& leaf) {
        return leaf.tensor.parameter_state() == state && reached(leaf);
      });
    };
    const auto hidden = first(ParameterState::hidden), none = b_->leaves.end();
    if (hidden != none && first(ParameterState::shown) != none) fail_hidden(*hidden);
  }
  // First what may fail, for want of memory too, then what cannot: all leaves get their gradient,
  // or every .grad is as it was.
  const size_t count = b_->leaves.size();  // recorded additions may append some
  for (size_t i = 0; i < count; ++i) {
    detail::Leaf& leaf = b_->leaves[i];
    if (!reached(leaf)) continue;
    if (leaf.tensor.version() != leaf.version) check_changed(leaf);
    Tensor& gradient = b_->grads[leaf.node];
    if (leaf.tensor.leaf().grad || !is_own(gradient)) prepare(leaf.tensor, gradient);
  }
  for (size_t i = 0; i < count; ++i)
    if (reached(b_->leaves[i])) add(b_->leaves[i].tensor, b_->grads[b_->leaves[i].node]);
}

std::vector<Tensor> Tape::gradient(const Tensor& y, std::span<const Tensor> xs,
                                   const SweepOptions& options) {
  if (y && options.allow_unused && y.tape() == 0 && !y.requires_grad())
    return std::vector<Tensor>(xs.size());  // a constant
  const uint32_t root = root_of("gradient", y, options);
  const Sweep scope(*this, options.create_graph);
  b_->useful.assign(b_->nodes.size(), 0);
  for (const Tensor& x : xs) {
    const int64_t node = x ? find(x) : -1;
    b_->targets.push_back(node < 0 ? kNone : static_cast<uint32_t>(node));
    if (node >= 0) b_->useful[static_cast<size_t>(node)] |= kAsked;
  }
  for (uint32_t n = 0; n <= root; ++n) {
    const Node& node = b_->nodes[n];
    if (!node.op) continue;
    bool useful = false;
    for (uint32_t i = 0; i < node.edges && !useful; ++i) {
      const uint32_t from = b_->edges[node.first_edge + i];
      useful = from != kNone && b_->useful[from];
    }
    if (!useful) continue;
    for (uint32_t i = 0; i < node.outputs; ++i) b_->useful[n + i] |= kOnPath;
  }
  sweep(root, y, options, true);
  std::vector<Tensor> result;
  result.reserve(xs.size());
  for (size_t i = 0; i < xs.size(); ++i) {
    const uint32_t target = b_->targets[i];
    Tensor dx = target < b_->grads.size() ? b_->grads[target] : Tensor();
    if (!dx && !options.allow_unused)
      fail("gradient: no path leads from y {} to x[{}] {}{}", detail::describe(y), i,
           xs[i] ? detail::describe(xs[i]) : "",
           xs[i] && target == kNone && !xs[i].requires_grad()
               ? "; it does not require a gradient"
               : "; say allow_unused to get an empty Tensor");
    result.push_back(std::move(dx));
  }
  return result;
}

NodeInfo Tape::info(uint32_t index) const {
  check(index < size(), "info: node {} of {}", index, size());
  uint32_t first = index;
  while (b_->nodes[first].outputs == 0) --first;
  const Node& node = b_->nodes[first];
  NodeInfo info{index,
                node.op ? node.op->name : "leaf",
                static_cast<int>(index - first),
                node.op ? "" : b_->leaves[node.first_edge].tensor.name(),
                b_->nodes[index].shape,
                b_->nodes[index].dtype,
                {},
                {},
                0,
                b_->nodes[index].reached};
  if (first != index) return info;
  for (uint32_t i = 0; i < node.edges; ++i) {
    const uint32_t from = b_->edges[node.first_edge + i];
    info.inputs.push_back(from == kNone ? -1 : int64_t{from});
  }
  for (uint32_t i = 0; i < node.kept; ++i) {
    const Tensor& kept = b_->kept[node.first_kept + i].tensor;
    if (!kept) continue;
    info.kept.push_back(kept.shape());
    info.kept_bytes += kept.numel() * static_cast<int64_t>(size_of(kept.dtype()));
  }
  return info;
}

int64_t Tape::kept_bytes() const {
  std::vector<std::pair<const void*, int64_t>> blocks;
  for (const detail::Kept& kept : b_->kept) {
    if (kept.tensor)
      blocks.emplace_back(kept.tensor.storage_id(),
                          static_cast<int64_t>(kept.tensor.storage_bytes()));
  }
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  int64_t bytes = 0;
  for (const auto& block : blocks) bytes += block.second;
  return bytes;
}

Backward::Backward(Tape& tape, uint32_t node)
    : tape_(tape),
      node_(node),
      first_edge_(tape.b_->nodes[node].first_edge),
      attrs_(tape.b_->nodes[node].attrs) {}

/// The place as a number from 0; an error of a backward that asks for what its op was not given.
static uint32_t place_of(const Node& node, const char* what, int place, uint32_t count) {
  if (place < 0 || static_cast<uint32_t>(place) >= count) [[unlikely]]
    fail("{}: its backward asks for {} {} of {}", node.op->name, what, place, count);
  return static_cast<uint32_t>(place);
}

// Not checked, since every gradient of every op goes through it several times.
uint32_t Backward::edge(int input) const {
  return tape_.b_->edges[first_edge_ + static_cast<uint32_t>(input)];
}

bool Backward::has_dy(int output) const {
  const Node& node = tape_.b_->nodes[node_];
  return static_cast<bool>(tape_.b_->grads[node_ + place_of(node, "output", output, node.outputs)]);
}

const Tensor& Backward::dy(int output) {
  uint32_t n = node_;
  if (output != 0) n += place_of(tape_.b_->nodes[n], "output", output, tape_.b_->nodes[n].outputs);
  Tensor& dy = tape_.b_->grads[n];
  if (!dy) dy = zeros(tape_.b_->nodes[n].shape, tape_.b_->nodes[n].dtype);
  return dy;
}

bool Backward::needs(int input) const {
  const uint32_t from = edge(input);
  return from != kNone && (tape_.b_->useful.empty() || tape_.b_->useful[from]);
}

Shape Backward::input_shape(int input) const {
  assert(needs(input));
  return tape_.b_->nodes[edge(input)].shape;
}

Tensor Backward::kept(int i) const {
  const Node& node = tape_.b_->nodes[node_];
  const detail::Kept& kept =
      tape_.b_->kept[node.first_kept + place_of(node, "kept tensor", i, node.kept)];
  if (kept.tensor && kept.tensor.version() != kept.version)
    fail(
        "{}: {} was kept for the backward and then changed in place; change a clone instead, or "
        "change it after the sweep",
        node.op->name, detail::describe(kept.tensor));
  return kept.tensor;
}

/// Not inline, so that set() pays for no strings.
[[gnu::noinline]] void Backward::fail_gradient(int input, const Tensor& gradient) const {
  const Node& from = tape_.b_->nodes[edge(input)];
  fail("{}: its backward gave {} as the gradient of input {}, which is {} {}",
       tape_.b_->nodes[node_].op->name, gradient ? detail::describe(gradient) : "an empty Tensor",
       input, from.shape, name(from.dtype));
}

void Backward::set(int input, Tensor gradient) {
  if (!needs(input)) return;
  const Node& from = tape_.b_->nodes[edge(input)];
  if (!gradient || gradient.shape() != from.shape || gradient.dtype() != from.dtype) [[unlikely]]
    fail_gradient(input, gradient);
  tape_.accumulate(edge(input), std::move(gradient));
}

Tensor Backward::take_sum(int input) {
  if (!needs(input) || detail::recorder) return {};
  Tensor& sum = tape_.b_->grads[edge(input)];
  return sum && is_own(sum) ? std::move(sum) : Tensor();
}

}  // namespace gradus

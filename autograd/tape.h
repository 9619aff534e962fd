#pragma once
#include <gradus/autograd/op.h>

#include <memory>
#include <type_traits>

namespace gradus {

class Tape;
class RecordObserver;

namespace detail {
struct Leaf;
struct TapeBuffers;
/// The tape that records on this thread now; nullptr if none does. Every op looks at it: one load
/// with this model, a call without.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local Tape* recorder;
[[gnu::tls_model("initial-exec")]] extern constinit thread_local RecordObserver* observer;
}  // namespace detail

/// Whether a sweep records its own operations, so that its results can be differentiated again.
enum class CreateGraph : bool { no, yes };

/// How a sweep goes back over the tape.
struct SweepOptions {
  CreateGraph create_graph = CreateGraph::no;  ///< whether the sweep is recorded, too
  bool keep_graph = false;    ///< allow another sweep over the same nodes (create_graph implies it)
  Tensor dy = {};             ///< the gradient to start from; default: 1, for a y of one element
  bool allow_unused = false;  ///< gradient(): an empty Tensor, not an error, where no path leads,
                              ///< or y is a constant
};

/// What a tape knows about one of its nodes; for listings.
struct NodeInfo {
  uint32_t index;    ///< its place in the order of recording
  const char* op;    ///< "leaf" for a leaf
  int output;        ///< which output of the op; its first output's node carries inputs and kept
  std::string name;  ///< the tensor's, if it has one
  Shape shape;       ///< the tensor's
  DType dtype;       ///< the tensor's
  std::vector<int64_t> inputs;  ///< nodes; -1: needs no gradient
  std::vector<Shape> kept;      ///< of the tensors kept for the backward
  int64_t kept_bytes;           ///< of their elements
  bool reached;                 ///< whether a sweep brought it a gradient
};

/// Records the operations of this thread from here to the end of the scope. Tapes nest, and end in
/// the reverse order: the innermost records, and a result of another tape is a constant to it.
/// Leaves (requires_grad) belong to none.
class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Adds dy(loss)/d(leaf) into .grad of every leaf that the loss depends on; the first is
  /// assigned. Errors: a loss of several elements without options.dy, not of this tape, swept
  /// before; a module's parameter among the leaves that nobody was given (ParameterState), while
  /// others were.
  void backward(const Tensor& loss, const SweepOptions& options = {});

  /// dy/dx for each x, a leaf or any result on this tape, working along the paths to them alone;
  /// .grad stays as it is. Errors as backward, and where no path leads from y to an x.
  std::vector<Tensor> gradient(const Tensor& y, std::span<const Tensor> xs,
                               const SweepOptions& options = {});
  std::vector<Tensor> gradient(const Tensor& y, std::initializer_list<Tensor> xs,
                               const SweepOptions& options = {}) {
    return gradient(y, std::span(xs.begin(), xs.size()), options);
  }
  Tensor gradient(const Tensor& y, const Tensor& x, const SweepOptions& options = {}) {
    return std::move(gradient(y, std::span(&x, 1), options)[0]);
  }
  Tensor gradient(const Tensor& y, const Tensor& x, CreateGraph create_graph) {
    return gradient(y, x, SweepOptions{.create_graph = create_graph});
  }

  /// A number that no other tape of the process has.
  uint64_t serial() const { return serial_; }
  /// How many nodes it has.
  size_t size() const;
  /// What it knows about a node, 0 <= node < size().
  NodeInfo info(uint32_t node) const;
  /// The bytes that kept tensors hold alive, each block counted once.
  int64_t kept_bytes() const;

  /// The innermost tape on this thread; nullptr if there is none.
  static Tape* current();

 private:
  friend class Backward;
  friend void record_outputs(const Op& op, std::span<Tensor* const> outputs, TensorRefs inputs,
                             TensorRefs keep, const void* attrs, size_t attrs_size);
  struct Sweep;
  int64_t find(const Tensor& x) const;
  uint32_t leaf_node(const Tensor& x);
  uint32_t root_of(const char* what, const Tensor& y, const SweepOptions& options);
  void show_swept(const Op& op, uint32_t node);
  void sweep(uint32_t root, const Tensor& y, const SweepOptions& options, bool along_paths);
  void accumulate(uint32_t node, Tensor&& gradient);
  static void prepare(Tensor& leaf, Tensor& gradient);
  static void add(Tensor& leaf, Tensor& gradient);
  void check_changed(const detail::Leaf& leaf) const;
  void check_thread(const char* what) const;
  [[noreturn]] void fail_hidden(const detail::Leaf& leaf) const;

  uint64_t serial_;
  const void* thread_;
  Tape* outer_;
  Tape* outer_recorder_;
  std::unique_ptr<detail::TapeBuffers> b_;
};

/// Nothing is recorded on this thread while one lives.
class NoRecord {
 public:
  NoRecord() : paused_(std::exchange(detail::recorder, nullptr)) {}
  ~NoRecord() { detail::recorder = paused_; }
  NoRecord(const NoRecord&) = delete;
  NoRecord& operator=(const NoRecord&) = delete;

 private:
  Tape* paused_;
};

/// While one lives it is shown every operation that this thread records, e.g. to find the first
/// value that is not finite. The innermost alone.
class RecordObserver {
 public:
  RecordObserver() : outer_(std::exchange(detail::observer, this)) {}
  virtual ~RecordObserver() { detail::observer = outer_; }
  RecordObserver(const RecordObserver&) = delete;
  RecordObserver& operator=(const RecordObserver&) = delete;
  /// `op` has been recorded with these results.
  virtual void recorded(const Op& op, std::span<Tensor* const> outputs) = 0;
  /// In a sweep: the gradient, so far, of an input of an op whose backward has just run.
  virtual void swept(const Op&, const Tensor&) {}

 private:
  RecordObserver* outer_;
};

/// Whether an operation on x would be recorded now: x is a leaf or a result of the recording tape.
inline bool needs_grad(const Tensor& x) {
  const Tape* tape = detail::recorder;
  return tape && x && (x.requires_grad() || x.tape() == tape->serial());
}

/// x, or no tensor: what record() keeps of x for the backward only if `condition` holds.
inline const Tensor& keep_if(bool condition, const Tensor& x) {
  return condition ? x : detail::none;
}
const Tensor& keep_if(bool condition, Tensor&& x) = delete;

/// Enters `outputs`, fresh results of `op` on `inputs`, on the recording tape, if an input needs a
/// gradient. `attrs` are copied as bytes.
void record_outputs(const Op& op, std::span<Tensor* const> outputs, TensorRefs inputs,
                    TensorRefs keep, const void* attrs, size_t attrs_size);

/// The usual form: one output, which is returned. For op's backward it keeps `keep` and `attrs`.
inline Tensor record(const Op& op, Tensor y, TensorRefs inputs, TensorRefs keep = {}) {
  if (detail::recorder) {
    Tensor* const outputs[] = {&y};
    record_outputs(op, outputs, inputs, keep, nullptr, 0);
  }
  return y;
}
template <class Attrs>
Tensor record(const Op& op, Tensor y, TensorRefs inputs, TensorRefs keep, const Attrs& attrs) {
  static_assert(std::is_trivially_copyable_v<Attrs> && std::is_trivially_destructible_v<Attrs>);
  if (detail::recorder) {
    Tensor* const outputs[] = {&y};
    record_outputs(op, outputs, inputs, keep, &attrs, sizeof attrs);
  }
  return y;
}

}  // namespace gradus

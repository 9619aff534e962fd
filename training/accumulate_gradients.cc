#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/tape.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/tensor/random.h>
#include <gradus/training/accumulate_gradients.h>
#include <gradus/training/detail/channel_moments.h>

#include <utility>
#include <vector>

namespace gradus {

namespace {

/// Ends the forward of a part, of which no more is asked.
struct Enough {};

/// Where gradients, buffers and the generator stood, to put them back.
class Before {
 public:
  explicit Before(Module& model) : generator_(default_generator().state()) {
    for (Tensor& p : model.parameters())
      gradients_.emplace_back(p, p.grad() ? raw::clone(p.grad()) : Tensor());
    for (const auto& [path, buffer] : model.named_buffers())
      buffers_.emplace_back(buffer, raw::clone(buffer));
  }
  void rewind() {
    default_generator().set_state(generator_);
    for (auto& [buffer, values] : buffers_) raw::copy(values, buffer);
  }
  void undo() {
    rewind();
    for (auto& [parameter, gradient] : gradients_) parameter.set_grad(gradient);
  }

 private:
  Generator::State generator_;
  std::vector<std::pair<Tensor, Tensor>> gradients_, buffers_;
};

/// The passes. A call is one forward of a BatchNorm within a part's forward.
class Passes {
 public:
  Passes(Module& model, int64_t parts, const std::function<Tensor(int64_t)>& loss_of)
      : parts_(parts), loss_of_(loss_of), before_(model) {
    for (const auto& [path, module] : model.named_modules()) {
      auto* const norm = dynamic_cast<BatchNorm*>(module);
      if (!norm || !norm->training() || norm->frozen()) continue;
      check(norm->options().ghost_size == 0,
            "accumulate_gradients: {} {} has ghost groups, whose statistics are of a part alone",
            path, norm->describe());
      norms_.push_back({norm, norm->statistics});
    }
    for (const Norm& one : norms_)
      one.norm->statistics = [this, norm = one.norm](const Tensor& x, const Tensor& valid) {
        return statistics_of(*norm, x, valid);
      };
  }
  ~Passes() {
    for (Norm& one : norms_) one.norm->statistics.swap(one.statistics);
  }
  Passes(const Passes&) = delete;
  Passes& operator=(const Passes&) = delete;

  double run() {
    try {
      if (!norms_.empty()) {
        collect();
        for (size_t call = calls_.size(); call-- > 0;) pass_gradient_to(call);
      }
      return pass_to_parameters();
    } catch (...) {
      before_.undo();
      throw;
    }
  }

 private:
  struct Norm {
    BatchNorm* norm;
    decltype(BatchNorm::statistics) statistics;
  };
  struct Call {
    explicit Call(BatchNorm& which) : norm(&which), moments(which.channels()) {}
    BatchNorm* norm;
    detail::ChannelMoments moments;
    Tensor mean, var;    // of all parts; leaves
    Tensor dmean, dvar;  // the whole loss's gradient with respect to them, once it is known
  };
  enum class Stage { collect, gradients };

  /// f(part) for each; the same numbers are drawn each time.
  template <class F>
  void each_part(F f) {
    before_.rewind();
    for (int64_t part = 0; part < parts_; ++part) {
      part_ = part;
      next_ = 0;
      terms_.clear();
      f(part);
    }
  }
  Tensor loss_of(int64_t part) {
    Tensor loss = loss_of_(part);
    check(loss && loss.numel() == 1,
          "accumulate_gradients: the loss of part {} is {}, must be one "
          "number",
          part, loss ? str(loss.shape()) : "an empty Tensor");
    check(next_ == calls_.size(),
          "accumulate_gradients: part {} runs BatchNorms {} times, part 0 {} times", part, next_,
          calls_.size());
    return loss;
  }

  /// The statistics of all parts, call by call: each needs those before it.
  void collect() {
    const NoRecord pause;
    stage_ = Stage::collect;
    for (wanted_ = 0; wanted_ == 0 || wanted_ < calls_.size(); ++wanted_) {
      each_part([&](int64_t part) {
        try {
          loss_of(part);
        } catch (const Enough&) {
        }
      });
      if (calls_.empty()) return;
      Call& call = calls_[wanted_];
      const int64_t count = call.moments.count();
      check(count != 1,
            "accumulate_gradients: {} has 1 value a channel in all parts, so training statistics "
            "do not exist",
            call.norm->describe());
      const auto [mean, var, n] = given(call.moments);
      call.mean = raw::clone(mean).set_requires_grad();
      call.var = raw::clone(var).set_requires_grad();
    }
  }

  /// The gradient of a call's statistics: those of the calls behind it have theirs.
  void pass_gradient_to(size_t index) {
    stage_ = Stage::gradients;
    wanted_ = index + 1;
    Call& call = calls_[index];
    each_part([&](int64_t part) {
      Tape tape;
      const Tensor whole = with_terms(loss_of(part));
      const auto gradients =
          tape.gradient(whole, {call.mean, call.var}, SweepOptions{.allow_unused = true});
      const NoRecord pause;
      const auto add = [](Tensor& total, const Tensor& more) {
        if (more) total = total ? total + more : more;
      };
      add(mean_so_far_, gradients[0]);
      add(var_so_far_, gradients[1]);
    });
    call.dmean = std::exchange(mean_so_far_, {});
    call.dvar = std::exchange(var_so_far_, {});
  }

  double pass_to_parameters() {
    stage_ = Stage::gradients;
    wanted_ = 0;
    last_ = true;
    double total = 0;
    each_part([&](int64_t part) {
      Tape tape;
      const Tensor loss = loss_of(part);
      tape.backward(with_terms(loss));
      total += loss.item();
    });
    return total;
  }

  Tensor with_terms(Tensor loss) const {
    for (const Tensor& term : terms_) loss = loss + reshape(term, loss.shape());
    return loss;
  }

  /// What a BatchNorm's forward is told.
  GivenStatistics statistics_of(BatchNorm& norm, const Tensor& x, const Tensor& valid) {
    const size_t index = next_++;
    if (stage_ == Stage::collect && wanted_ == 0 && part_ == 0) {
      calls_.emplace_back(norm);
      dtype_ = x.dtype();
    }
    check(index < calls_.size() && calls_[index].norm == &norm,
          "accumulate_gradients: part {} runs other BatchNorms than part 0, or in another order",
          part_);
    Call& call = calls_[index];
    const NormGroups groups = batch_norm_groups(
        x, norm.options().channels_last ? ChannelAxis::last : ChannelAxis::second, valid);
    if (stage_ == Stage::collect) {
      if (index < wanted_) return {call.mean, call.var};
      detail::ChannelMoments own(norm.channels());
      add_moments(own, groups, x);
      if (index == wanted_) add_moments(call.moments, groups, x);
      if (wanted_ > 0) throw Enough();
      return given(own);
    }
    if (index >= wanted_) add_term(call, groups, x);
    const bool to_running = last_ && part_ == parts_ - 1;
    return {call.mean, call.var, to_running ? call.moments.count() : 0};
  }

  /// Of masks that leave nothing, any: y is 0.
  GivenStatistics given(const detail::ChannelMoments& moments) const {
    if (moments.count() > 0) return {moments.mean(dtype_), moments.var(dtype_)};
    const Shape per_channel{moments.channels()};
    return {zeros(per_channel, dtype_), ones(per_channel, dtype_)};
  }

  /// In f64: of means rounded to f32, far from 0, the variance would be that of the rounding.
  static void add_moments(detail::ChannelMoments& moments, const NormGroups& groups,
                          const Tensor& x) {
    if (groups.count == 0) return;
    const NoRecord pause;
    const Tensor values = reshape(raw::cast(x, DType::f64), groups.shape),
                 mean = group_mean(groups, values), var = group_mean(groups, square(values - mean));
    moments.add(mean, var, static_cast<int64_t>(groups.count));
  }

  /// The part's share of <dmean, mean> + <dvar, var>, by which the gradient of the statistics
  /// reaches x. The mean within var is a constant: var is least there, so its derivative is 0.
  void add_term(const Call& call, const NormGroups& groups, const Tensor& x) {
    const Shape per_channel{1, call.norm->channels(), 1};
    const double share = 1 / static_cast<double>(call.moments.count());
    const Tensor values = reshape(x, groups.shape);
    const auto add = [&](const Tensor& gradient, const Tensor& of_values) {
      if (gradient)
        terms_.push_back(
            sum(clear_invalid(groups, of_values) * reshape(mul(gradient, share), per_channel)));
    };
    add(call.dmean, values);
    add(call.dvar, square(values - reshape(raw::clone(call.mean), per_channel)));
  }

  int64_t parts_;
  const std::function<Tensor(int64_t)>& loss_of_;
  Before before_;
  std::vector<Norm> norms_;
  std::vector<Call> calls_;
  Stage stage_ = Stage::gradients;
  size_t wanted_ = 0;  // collected; or from here on, calls have a gradient for their statistics
  size_t next_ = 0;
  int64_t part_ = 0;
  bool last_ = false;
  DType dtype_ = DType::f32;
  TensorList terms_;
  Tensor mean_so_far_, var_so_far_;
};

}  // namespace

double accumulate_gradients(Module& model, int64_t parts,
                            const std::function<Tensor(int64_t part)>& loss_of) {
  check(parts > 0, "accumulate_gradients: {} parts", parts);
  return Passes(model, parts, loss_of).run();
}

}  // namespace gradus

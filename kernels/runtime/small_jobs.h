#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

namespace gradus::kernels {

/// Whether jobs for one helper are shared whatever their size. They are not where that helper is
/// far: its core shares no cache with the caller's, or another process has it. What passes between
/// the two then costs a small job more than the second core gives. From time to time the first
/// helper is asked, and is near if it answers soon enough.
///
/// The caller that holds the pool asks; the helper answers.
class SmallJobs {
 public:
  /// The rule that GRADUS_SMALL_JOBS=ask|shared|alone names; ask if it is not set.
  SmallJobs();

  /// call() wakes the helpers without a job for them and returns the call's number.
  template <class Call>
  bool shared(int helpers, Call call) {
    if (rule_ != Rule::ask) return rule_ == Rule::shared;
    // Measured with one helper; with several, all of them would have to be far.
    return helpers > 1 || near(call);
  }

  /// The first helper has seen a call.
  void answer(uint32_t call) { answer_.store(call, std::memory_order_release); }
  void set_asleep(bool asleep) { asleep_.store(asleep, std::memory_order_relaxed); }

  /// Shared, as the rule says or as was last found, and who said so: "GRADUS_SMALL_JOBS", "the
  /// helper's answer", or "default" where nobody was asked yet.
  bool last_shared() const;
  const char* chosen_by() const;

 private:
  enum class Rule { ask, shared, alone };
  enum class Found { nothing, near, far };
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::nanoseconds kNear{250};
  static constexpr uint32_t kAskAgain = 64;  // jobs

  template <class Call>
  bool near(Call call) {
    const bool was_near = found_.load(std::memory_order_relaxed) != Found::far;
    if (jobs_ % kAskAgain == 0 && asleep_.load(std::memory_order_relaxed)) {
      if (!was_near) call();  // as sharing does otherwise; the next job asks
      return was_near;
    }
    if (jobs_++ % kAskAgain != 0) return was_near;
    bool is_near = false;
    for (int attempt = 0; attempt < 3 && !is_near; ++attempt) is_near = answers_soon(call);
    found_.store(is_near ? Found::near : Found::far, std::memory_order_relaxed);
    return is_near;
  }

  template <class Call>
  bool answers_soon(Call call) {
    const auto begin = Clock::now();
    const uint32_t question = call();
    bool answered = false;
    while (!answered && Clock::now() - begin < 4 * kNear)
      answered = answer_.load(std::memory_order_acquire) == question;
    return answered && Clock::now() - begin < kNear;
  }

  const Rule rule_;
  alignas(64) std::atomic<uint32_t> answer_{0};  // the call that the first helper has seen last
  alignas(64) std::atomic<bool> asleep_{false};
  std::atomic<Found> found_{Found::nothing};
  uint32_t jobs_ = 0;
};

}  // namespace gradus::kernels

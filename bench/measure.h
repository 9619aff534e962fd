#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

namespace gradus::bench {

inline double now_us() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Microseconds that a call of f takes, over `calls` of them.
template <class F>
double mean_us(F& f, int64_t calls) {
  const double begin = now_us();
  for (int64_t i = 0; i < calls; ++i) f();
  return (now_us() - begin) / static_cast<double>(calls);
}

/// How many calls of f take a third of a millisecond, after calls that warm it up: short beside
/// what the system gives another process at a time.
template <class F>
int64_t calls_a_block(F& f) {
  mean_us(f, 3);
  return std::clamp<int64_t>(static_cast<int64_t>(300 / mean_us(f, 1)), 1, 10000);
}

/// The median times of a call of each f in microseconds. They are measured in turn, so that what
/// else the machine does meanwhile meets all of them.
template <class... F>
std::array<double, sizeof...(F)> in_turn_us(double seconds, F&&... f) {
  constexpr size_t n = sizeof...(F);
  const std::array<int64_t, n> calls{calls_a_block(f)...};
  std::array<std::vector<double>, n> times;
  const double begin = now_us();
  do {
    size_t i = 0;
    ((times[i].push_back(mean_us(f, calls[i])), ++i), ...);
  } while (now_us() - begin < seconds * 1e6 || times[0].size() < 5);
  std::array<double, n> medians;
  std::transform(times.begin(), times.end(), medians.begin(), median);
  return medians;
}

template <class F>
double median_us(double seconds, F&& f) {
  return in_turn_us(seconds, f)[0];
}

}  // namespace gradus::bench

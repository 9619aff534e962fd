#pragma once
#include <chrono>
#include <ctime>
#include <string>

namespace gradus::lab {

/// Of a run whose numbers become part of the program: when, on what and for how long it ran.
class RunNote {
 public:
  /// "2026-11-28: WHAT; 400 s on 2 threads of 2 cores (Intel Xeon), 795 s of processor time; gradus
  /// 0.2.0". The time is that since this was made.
  std::string text(const std::string& what, int threads) const;

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::clock_t processor_ = std::clock();
};

}  // namespace gradus::lab

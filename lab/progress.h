#pragma once
#include <sys/types.h>

#include <chrono>
#include <string>

namespace gradus::lab {

/// The first of SIGINT, SIGTERM, SIGHUP is noted; a second one ends the program as usual.
void stop_on_signals();
/// A second one kills this process group, too; 0: none.
void kill_on_second_signal(pid_t group);
/// The number of the signal that came, or 0.
int stopped_by();

/// "90 s", "12 min", "3 h 20 min"
std::string duration(double seconds);

/// Progress on stderr: one line that changes on a terminal; elsewhere lines of their own.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  /// Whether a line is due: on a terminal each tenth of a second; elsewhere if it is a
  /// `milestone`, and, where those are far apart, each ten seconds if it is a `step`.
  bool due(bool milestone, bool step) const;
  void show(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;
  const bool live_;
  Clock::time_point last_;
};

}  // namespace gradus::lab

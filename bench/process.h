#pragma once
#include <string>
#include <vector>

namespace gradus::bench {

/// What became of a program.
struct Ran {
  int status;  ///< its exit code; -1: it could not be started, or a signal ended it
  double seconds;
  double peak_mib;     ///< most memory it had resident
  std::string output;  ///< what it wrote to stdout; stderr is left alone
};

/// Runs a program, found on PATH, to its end.
Ran run(const std::vector<std::string>& command);

}  // namespace gradus::bench

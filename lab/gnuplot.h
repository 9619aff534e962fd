#pragma once
#include <string>

namespace gradus::lab {

/// What gnuplot draws, or why there is none.
struct GnuplotPicture {
  std::string bytes, failure;
};

/// Runs `gnuplot script`, for at most a minute, or until a signal stops the program. In a process
/// group of its own, so that Ctrl-C in the terminal, which stops a training, leaves its picture.
GnuplotPicture gnuplot(const std::string& script);

}  // namespace gradus::lab

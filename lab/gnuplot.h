#pragma once
#include <string>

namespace gradus::lab {

/// What gnuplot draws, or why there is none.
struct GnuplotPicture {
  std::string bytes, failure;
};

/// Runs `gnuplot script`, for at most a minute. In a process group of its own, so that Ctrl-C in
/// the terminal does not reach it.
GnuplotPicture gnuplot(const std::string& script);

}  // namespace gradus::lab

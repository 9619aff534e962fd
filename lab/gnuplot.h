#pragma once
#include <string>

namespace gradus::lab {

/// Runs `gnuplot script > picture`; returns what went wrong, or nothing. In a process group of its
/// own, so that Ctrl-C in the terminal does not reach it.
std::string gnuplot(const std::string& script, const std::string& picture);

}  // namespace gradus::lab

#pragma once
#include <string>

namespace gradus::lab {

/// The options that commands which write results have in common, by the same names.
struct ResultOptions {
  std::string output;  ///< the folder
  int threads = 0;     ///< 0: one a core
  bool fresh = false;  ///< nothing from the folder is taken over
};

}  // namespace gradus::lab

#pragma once
#include <string>
#include <vector>

namespace gradus::lab {

/// A folder for results, made if it is not there. A WriteError before hours are spent if files
/// cannot be written into it, if what has the name of one of the `files` that will be is none, or
/// cannot be read and written, or while another gradus of this machine writes there. What killed
/// ones left half written is removed.
class ResultsFolder {
 public:
  ResultsFolder(const std::string& folder, const std::vector<std::string>& files);
  ~ResultsFolder();
  ResultsFolder(const ResultsFolder&) = delete;
  ResultsFolder& operator=(const ResultsFolder&) = delete;

 private:
  int descriptor_;  // holds a lock, which ends with the process in any case
};

}  // namespace gradus::lab

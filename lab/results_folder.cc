#include "lab/results_folder.h"

#include <fcntl.h>
#include <gradus/base/file.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace gradus::lab {

namespace {

namespace fs = std::filesystem;

void check_file(const std::string& path) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (fs::exists(status) && !fs::is_regular_file(status))
    throw WriteError(
        fmt::format("{}: results cannot be written there: it is no regular file", path));
  check_writable(path);
  if (fs::exists(status) && ::access(path.c_str(), R_OK) != 0)
    throw WriteError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
}

}  // namespace

ResultsFolder::ResultsFolder(const std::string& folder, const std::vector<std::string>& files) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  try {
    if (descriptor_ < 0 || ::access(folder.c_str(), W_OK | X_OK) != 0)
      throw WriteError(fmt::format("{}: cannot be written to: {}", folder,
                                   failure ? failure.message() : std::strerror(errno)));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
      throw WriteError(
          fmt::format("{}: another gradus writes its results there; give another folder, or "
                      "wait until it has ended",
                      folder));
    for (const std::string& file : files) check_file((fs::path(folder) / file).string());
    remove_partial_files(folder);
  } catch (...) {
    if (descriptor_ >= 0) ::close(descriptor_);
    throw;
  }
}

ResultsFolder::~ResultsFolder() { ::close(descriptor_); }

}  // namespace gradus::lab

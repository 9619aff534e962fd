#include <gradus/base/error.h>
#include <gradus/base/file.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <system_error>

namespace gradus {

namespace {

/// The file while it is written, under another name; taken away unless it took its place.
class PartialFile {
 public:
  explicit PartialFile(const std::string& path) : path_(path), partial_(path + ".partial") {}
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  ~PartialFile() {
    if (!partial_.empty()) std::remove(partial_.c_str());
  }
  const std::string& name() const { return partial_; }
  void take_place() {
    if (std::rename(partial_.c_str(), path_.c_str()) != 0) {
      const int failure = errno;
      throw Error(fmt::format("{}: cannot be written: {}", path_,
                              std::generic_category().message(failure)));
    }
    partial_.clear();
  }

 private:
  const std::string& path_;
  std::string partial_;
};

}  // namespace

void write_file(const std::string& path, const std::function<void(std::ostream&)>& write) {
  PartialFile partial(path);
  {
    std::ofstream file(partial.name(), std::ios::binary);
    write(file);
    file.close();
    if (!file) throw Error(path + ": cannot be written");
  }
  partial.take_place();
}

}  // namespace gradus

#include <gradus/base/error.h>
#include <gradus/base/file.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace gradus {

void write_file(const std::string& path, const std::function<void(std::ostream&)>& write) {
  const std::string partial = path + ".partial";
  {
    std::ofstream file(partial, std::ios::binary);
    write(file);
    file.close();
    if (!file) {
      std::remove(partial.c_str());
      throw Error(path + ": cannot be written");
    }
  }
  std::error_code failure;
  std::filesystem::rename(partial, path, failure);
  if (failure) {
    std::remove(partial.c_str());
    throw Error(fmt::format("{}: cannot be written: {}", path, failure.message()));
  }
}

}  // namespace gradus

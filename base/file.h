#pragma once
#include <gradus/base/error.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>

namespace gradus {

/// What the system does not let be written.
class WriteError : public Error {
 public:
  using Error::Error;
};

/// The file gets what `write` writes, whole, or an Error that says why leaves it as it was. The
/// bytes go to a new file of a name of its own in the same folder, reach the disk (fsync) and take
/// the file's place (rename), with the permissions and the access control list that it had; where
/// only the folder does not reach the disk, the error says that the file is written and may not
/// last. A symbolic link is followed to the
/// file that it names; other hard links to the old file keep the old bytes. What cannot be
/// replaced, a device, a FIFO, a file that is a mount point, is written directly: who is killed
/// meanwhile, or finds the disk full, leaves a part of it. A file that is open under a descriptor's
/// path (/dev/stdout) gets the bytes at its end. What the system refuses is a WriteError.
void write_file(const std::string& path, const std::function<void(std::ostream&)>& write);

/// A WriteError if write_file() would now fail for what is in its way: a folder, a link that leads
/// nowhere, permissions. Nothing is written.
void check_writable(const std::string& path);

/// Removes the file, or the link, if it is there. What the system refuses is a WriteError, and so
/// is a folder.
void remove_file(const std::string& path);

/// Removes the new files (".gradus-*.partial") that writers which were killed left in the folder: a
/// writer, and a child that it forked, holds a lock (flock) on its own, and those that can be
/// locked are nobody's. Where the file system has no locks, all stay; where machines that share it
/// lock each by itself, there should be no writers on others.
void remove_partial_files(const std::string& folder);

/// All bytes of a file; an Error with the path and the system's reason if they cannot be read.
std::string read_file(const std::string& path);

/// A file that is read piece by piece. What the system refuses is an Error with the path and the
/// reason.
class FileReader {
 public:
  /// Opens it; a folder is an error.
  explicit FileReader(std::string path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;
  /// The bytes of a regular file; of others 0.
  uint64_t size() const { return size_; }
  /// The next bytes, `count` unless the file ends before; how many they are.
  size_t read(char* to, size_t count);

 private:
  std::string path_;
  uint64_t size_ = 0;
  int descriptor_;
};

}  // namespace gradus

#include <fcntl.h>
#include <gradus/base/detail/error_path.h>
#include <gradus/base/file.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <ostream>
#include <sstream>
#include <streambuf>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gradus {

namespace {

namespace fs = std::filesystem;

constexpr size_t kBuffer = size_t{1} << 16;
constexpr int kMostLinks = 40;  // as Linux

std::string text_of(int reason, const std::string& path, const char* what) {
  return fmt::format("{}: {}: {}", path, what, std::generic_category().message(reason));
}

[[noreturn]] void fail_with(int reason, const std::string& path, const char* what) {
  throw_error(text_of(reason, path, what));
}

[[noreturn]] void fail_to_write(int reason, const std::string& path,
                                const char* what = "cannot be written") {
  throw WriteError(in_context(text_of(reason, path, what)));
}

/// f, which returns a negative number and sets errno, until no signal interrupts it.
template <class F>
auto uninterrupted(F f) {
  for (;;) {
    const auto result = f();
    if (result >= 0 || errno != EINTR) return result;
  }
}

int open_file(const std::string& path, int flags, mode_t mode = 0) {
  if (path.find('\0') != std::string::npos) {
    errno = EINVAL;
    return -1;
  }
  return uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, mode); });
}

bool is_regular(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

/// A descriptor that is written through a buffer; the reason of the first write that failed.
class Output : public std::streambuf {
 public:
  explicit Output(int descriptor) : descriptor_(descriptor) { empty(); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int descriptor() const { return descriptor_; }

  /// What is left goes to the disk, and the descriptor is closed: 0, or the reason of a failure.
  int finish() {
    sync();
    // What cannot be asked to keep its bytes says EINVAL; a device, whatever its file system says.
    if (failure_ == 0 && uninterrupted([&] { return ::fsync(descriptor_); }) < 0 &&
        errno != EINVAL && !(errno == EROFS && !is_regular(descriptor_)))
      failure_ = errno;
    // Linux closes it whatever close() says, so that it must not be called again.
    if (::close(std::exchange(descriptor_, -1)) < 0 && errno != EINTR && failure_ == 0)
      failure_ = errno;
    return failure_;
  }

 protected:
  int overflow(int c) override {
    if (sync() < 0) return traits_type::eof();
    if (!traits_type::eq_int_type(c, traits_type::eof())) {
      *pptr() = traits_type::to_char_type(c);
      pbump(1);
    }
    return traits_type::not_eof(c);
  }
  int sync() override {
    const char* const begin = pbase();
    const char* const end = pptr();
    empty();
    return put(begin, static_cast<size_t>(end - begin)) ? 0 : -1;
  }
  std::streamsize xsputn(const char* s, std::streamsize n) override {
    if (n <= epptr() - pptr()) return std::streambuf::xsputn(s, n);
    return sync() == 0 && put(s, static_cast<size_t>(n)) ? n : 0;
  }

 private:
  void empty() { setp(buffer_, buffer_ + sizeof buffer_); }
  bool put(const char* data, size_t n) {
    while (failure_ == 0 && n > 0) {
      const ssize_t written = uninterrupted([&] { return ::write(descriptor_, data, n); });
      if (written < 0) {
        failure_ = errno;
      } else {
        data += written;
        n -= static_cast<size_t>(written);
      }
    }
    return failure_ == 0;
  }

  char buffer_[1 << 14];
  int descriptor_, failure_ = 0;
};

void fill(const std::string& path, Output& output,
          const std::function<void(std::ostream&)>& write) {
  std::ostream stream(&output);
  write(stream);
  const int failure = output.finish();
  if (failure != 0) fail_to_write(failure, path);
  if (!stream) fail("{}: cannot be written", path);
}

void write_directly(const std::string& path, const std::function<void(std::ostream&)>& write,
                    int how = O_TRUNC) {
  const int descriptor = open_file(path, O_WRONLY | how);
  if (descriptor < 0) fail_to_write(errno, path);
  Output output(descriptor);
  fill(path, output, write);
}

/// What has no other file beside it is written at last, when all its bytes are there.
void write_in_place(const std::string& path, const std::function<void(std::ostream&)>& write) {
  std::ostringstream bytes;
  write(bytes);
  if (!bytes) fail("{}: cannot be written", path);
  write_directly(path, [&](std::ostream& to) { to << bytes.view(); });
}

/// The file that `path` names through any symbolic links, whether it is there or not; nothing if
/// one of them is a descriptor's, as /dev/stdout's is: somebody has that file open.
std::optional<fs::path> target_of(const std::string& path) {
  fs::path target = path;
  std::error_code error;
  for (int links = 0; fs::is_symlink(fs::symlink_status(target, error)); ++links) {
    if (links == kMostLinks) fail_to_write(ELOOP, path);
    const std::string folder = fs::canonical(target.parent_path(), error).native();
    if (folder.starts_with("/proc/") && folder.ends_with("/fd")) return std::nullopt;
    const fs::path next = fs::read_symlink(target, error);
    if (error) fail_to_write(error.value(), path);
    target = target.parent_path() / next;  // which is `next` alone if that is absolute
  }
  return target;
}

constexpr const char* kAccessList = "system.posix_acl_access";
constexpr size_t kMostBytesOfAList = 65536;  // Linux has none longer

/// Gives the new file the old one's access control list, or none, not even one that its folder
/// gives to new files. Whether that could be done.
bool take_over_access_list(const fs::path& old, int descriptor) {
  std::vector<char> list(kMostBytesOfAList);
  const ssize_t size = ::getxattr(old.c_str(), kAccessList, list.data(), list.size());
  if (size >= 0)
    return ::fsetxattr(descriptor, kAccessList, list.data(), static_cast<size_t>(size), 0) == 0;
  return (errno == ENODATA || errno == ENOTSUP) &&
         (::fremovexattr(descriptor, kAccessList) == 0 || errno == ENODATA || errno == ENOTSUP);
}

/// The old file's owner, group, permissions and access control list, but for what they would give
/// to others where we may not keep its owner, group or list: with a list the group's permissions
/// are what it gives to anybody.
int take_over(const fs::path& old_file, const struct stat& old, int descriptor) {
  mode_t mode = old.st_mode & 07777;
  if (::fchown(descriptor, old.st_uid, old.st_gid) != 0) {
    mode &= ~static_cast<mode_t>(S_ISUID | S_ISGID);
    if (::fchown(descriptor, static_cast<uid_t>(-1), old.st_gid) != 0)
      mode &= ~static_cast<mode_t>(S_IRWXG);
  }
  if (!take_over_access_list(old_file, descriptor)) mode &= ~static_cast<mode_t>(S_IRWXG);
  return uninterrupted([&] { return ::fchmod(descriptor, mode); });
}

constexpr std::string_view kPartialBegin = ".gradus-", kPartialEnd = ".partial";
constexpr int kMostNames = 100;

bool is_name_of_a_partial_file(std::string_view name) {
  return name.size() >= kPartialBegin.size() + kPartialEnd.size() &&
         name.starts_with(kPartialBegin) && name.ends_with(kPartialEnd);
}

/// What flock says. Not every file system can lock.
enum class Lock { taken, of_another, impossible };

/// Takes the lock on an open file, which lasts until its last descriptor is closed, however its
/// process ends, and which every process sees that sees the file.
Lock take_lock(int descriptor) {
  if (uninterrupted([&] { return ::flock(descriptor, LOCK_EX | LOCK_NB); }) == 0)
    return Lock::taken;
  return errno == EWOULDBLOCK ? Lock::of_another : Lock::impossible;
}

bool is_name_of(const fs::path& name, int descriptor) {
  struct stat named {};
  struct stat opened {};
  return ::lstat(name.c_str(), &named) == 0 && ::fstat(descriptor, &opened) == 0 &&
         named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

/// A new file beside another, which takes its place; taken away, by the process that made it,
/// unless it did. It is locked as long as it lives, which tells remove_partial_files() that
/// somebody writes it.
class Replacement {
 public:
  Replacement(const fs::path& target, mode_t mode) {
    failure_ = EEXIST;
    for (int i = 0; i < kMostNames && failure_ == EEXIST; ++i) {
      const auto now = std::chrono::system_clock::now().time_since_epoch().count();
      name_ = target.parent_path() / fmt::format("{}{:x}-{}{}", kPartialBegin, now, i, kPartialEnd);
      lock_ = open_file(name_.native(), O_WRONLY | O_CREAT | O_EXCL, mode);
      failure_ = lock_ < 0 ? errno : 0;
      if (failure_ != 0) {
        name_.clear();
        continue;
      }
      // Before it was locked another may have removed it, or be about to.
      const Lock lock = take_lock(lock_);
      if (lock == Lock::of_another || (lock == Lock::taken && !is_name_of(name_, lock_))) give_up();
    }
  }
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;
  ~Replacement() {
    if (!name_.empty() && ::getpid() == process_) ::unlink(name_.c_str());
    if (lock_ >= 0) ::close(lock_);
  }
  /// Why it could not be made, or 0.
  int failure() const { return failure_; }
  /// A descriptor to write it by, which is the caller's; -1 and errno if there is none. The lock
  /// outlives it, so that it can be closed, which may fail, before the file takes a place.
  int open() const {
    return uninterrupted([&] { return ::fcntl(lock_, F_DUPFD_CLOEXEC, 0); });
  }
  /// 0, or why not.
  int take_place_of(const fs::path& target) {
    if (uninterrupted([&] { return ::rename(name_.c_str(), target.c_str()); }) < 0) return errno;
    name_.clear();
    return 0;
  }

 private:
  void give_up() {
    if (is_name_of(name_, lock_)) ::unlink(name_.c_str());
    name_.clear();
    ::close(std::exchange(lock_, -1));
    failure_ = EEXIST;
  }

  fs::path name_;
  int lock_ = -1, failure_;
  pid_t process_ = ::getpid();
};

/// Whether something is mounted on the file itself, which then cannot be replaced.
bool is_mount_point(const fs::path& file) {
  struct statx status {};
  return ::statx(AT_FDCWD, file.c_str(), 0, 0, &status) == 0 &&
         (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

/// A rename lasts once its folder is on the disk. 0, or why it may not. Not every file system can
/// be asked for that, nor a folder that may not be read.
int sync_folder_of(const fs::path& file) {
  const int descriptor = open_file(folder_of(file).native(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return errno == EACCES ? 0 : errno;
  const int failure = uninterrupted([&] { return ::fsync(descriptor); }) < 0 ? errno : 0;
  ::close(descriptor);
  return failure == EINVAL || failure == ENOTSUP ? 0 : failure;
}

/// Unless somebody holds its lock, or it cannot be known.
void remove_partial_file(const fs::path& name) {
  const int descriptor = open_file(name.native(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return;
  if (is_regular(descriptor) && take_lock(descriptor) == Lock::taken &&
      is_name_of(name, descriptor))
    ::unlink(name.c_str());
  ::close(descriptor);
}

/// Where a file's bytes go.
struct Place {
  bool exists = false;
  struct stat old {};              // if it exists
  std::optional<fs::path> target;  // of a regular file: what it is called, unless it is only open
  bool is_regular() const { return !exists || S_ISREG(old.st_mode); }
  bool is_replaced() const { return target && !(exists && is_mount_point(*target)); }
};

/// A WriteError if what has that name already cannot be written.
Place place_of(const std::string& path) {
  check(path.find('\0') == std::string::npos, "{}: cannot be written: a path has no zero bytes",
        path.c_str());
  if (path.empty()) fail_to_write(ENOENT, path);
  Place place;
  place.exists = ::stat(path.c_str(), &place.old) == 0;
  if (!place.exists && errno != ENOENT) fail_to_write(errno, path);
  if (place.exists && S_ISDIR(place.old.st_mode)) fail_to_write(EISDIR, path);
  if (place.exists && ::access(path.c_str(), W_OK) < 0) fail_to_write(errno, path);
  if (place.is_regular()) place.target = target_of(path);
  return place;
}

const char* reason_of(const Place& place) {
  return place.exists ? "cannot be written: its folder lets no file be made that would replace it"
                      : "cannot be written";
}

}  // namespace

void write_file(const std::string& path, const std::function<void(std::ostream&)>& write) {
  const Place place = place_of(path);
  if (!place.is_regular()) return write_directly(path, write);
  if (!place.target) return write_directly(path, write, O_APPEND);
  if (!place.is_replaced()) return write_in_place(path, write);
  Replacement file(*place.target, place.exists ? 0600 : 0666);
  if (file.failure() != 0) fail_to_write(file.failure(), path, reason_of(place));
  Output output(file.open());
  if (output.descriptor() < 0 ||
      (place.exists && take_over(*place.target, place.old, output.descriptor()) < 0))
    fail_to_write(errno, path);
  fill(path, output, write);
  const int failure = file.take_place_of(*place.target);
  if (failure != 0) fail_to_write(failure, path);
  const int not_lasting = sync_folder_of(*place.target);
  if (not_lasting != 0) fail_to_write(not_lasting, path, "is written, but may not last");
}

void check_writable(const std::string& path) {
  const Place place = place_of(path);
  if (place.is_replaced() && ::access(folder_of(*place.target).c_str(), W_OK | X_OK) < 0)
    fail_to_write(errno, path, reason_of(place));
}

void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) < 0 && errno != ENOENT)
    fail_to_write(errno, path, "cannot be removed");
}

void remove_partial_files(const std::string& folder) {
  std::vector<fs::path> partial;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (is_name_of_a_partial_file(entry->path().filename().native()))
      partial.push_back(entry->path());
  if (error) fail_with(error.value(), folder, "cannot be read");
  for (const fs::path& name : partial) remove_partial_file(name);
}

FileReader::FileReader(std::string path)
    : path_(std::move(path)), descriptor_(open_file(path_, O_RDONLY)) {
  struct stat status {};
  if (descriptor_ < 0) fail_with(errno, path_, "cannot be opened");
  if (::fstat(descriptor_, &status) < 0 || S_ISDIR(status.st_mode)) {
    const int reason = S_ISDIR(status.st_mode) ? EISDIR : errno;
    ::close(descriptor_);
    fail_with(reason, path_, "cannot be read");
  }
  if (S_ISREG(status.st_mode)) size_ = static_cast<uint64_t>(status.st_size);
}

FileReader::~FileReader() { ::close(descriptor_); }

size_t FileReader::read(char* to, size_t count) {
  size_t got = 0;
  while (got < count) {
    const ssize_t n = uninterrupted([&] { return ::read(descriptor_, to + got, count - got); });
    if (n < 0) fail_with(errno, path_, "cannot be read");
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  return got;
}

std::string read_file(const std::string& path) {
  FileReader file(path);
  std::string bytes;
  for (size_t piece = file.size() + 1;; piece = kBuffer) {
    const size_t before = bytes.size();
    bytes.resize(before + piece);
    const size_t got = file.read(bytes.data() + before, piece);
    bytes.resize(before + got);
    if (got < piece) return bytes;
  }
}

}  // namespace gradus

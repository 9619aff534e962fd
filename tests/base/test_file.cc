// One way to write a file: old or new, whole, whatever fails, whoever else writes, whenever it
// ends.
#define BOOST_TEST_MODULE file
#include <dlfcn.h>
#include <fcntl.h>
#include <gradus/base/file.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <filesystem>
#include <fstream>
#include <functional>
#include <ostream>
#include <thread>
#include <utility>

#include "tests/checks.h"

using namespace gradus;
using test::says;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("gradus-test-file-{}", ::getpid());
  Folder() { fs::create_directory(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return path / name; }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path), {}));
  }
};

void write(const std::string& path, const std::string& text) {
  write_file(path, [&](std::ostream& out) { out << text; });
}

mode_t mode_of(const std::string& path) {
  struct stat status {};
  BOOST_REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

/// The exit status of a child that runs f.
int in_a_child(const std::function<int()>& f) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(f());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Bytes of one letter: half an old file and half a new one cannot be taken for either.
std::string letters(int i) { return std::string(200'000, static_cast<char>('a' + i % 26)); }

bool is_whole(const std::string& text) {
  return text.size() == 200'000 && text.find_first_not_of(text[0]) == std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  const Folder folder;
  for (const size_t size : {0, 1, 16383, 16384, 16385, 1'000'003}) {
    const std::string text(size, 'x');
    write(folder / "a", text);
    BOOST_TEST((read_file(folder / "a") == text), size);
    write_file(folder / "a", [&](std::ostream& out) {
      for (const char c : text) out.put(c);
    });
    BOOST_TEST((read_file(folder / "a") == text), size);
  }
  BOOST_TEST(folder.files() == 1u);
  FileReader reader(folder / "a");
  char some[10];
  BOOST_TEST(reader.size() == 1'000'003u);
  BOOST_TEST(reader.read(some, sizeof some) == 10u);
}

BOOST_AUTO_TEST_CASE(permissions_stay) {
  const Folder folder;
  const mode_t umask_before = ::umask(027);
  write(folder / "new", "x");
  BOOST_TEST(mode_of(folder / "new") == 0640u);
  for (const mode_t mode : {0600, 0644, 0666, 0751}) {
    ::chmod((folder / "new").c_str(), mode);
    write(folder / "new", "y");
    BOOST_TEST(mode_of(folder / "new") == mode);
  }
  ::umask(umask_before);
}

namespace {

constexpr const char* kList = "system.posix_acl_access";

/// An access control list as acl(5) and Linux's xattr hold it: the owner and user 4242 may read and
/// write, the group nothing, and nobody more than that.
std::string access_list() {
  struct Entry {
    uint16_t tag, permissions;
    uint32_t id;
  };
  constexpr uint32_t kVersion = 2, kNobody = ~uint32_t{0};
  constexpr Entry entries[] = {{0x01, 6, kNobody},
                               {0x02, 6, 4242},
                               {0x04, 0, kNobody},
                               {0x10, 6, kNobody},
                               {0x20, 0, kNobody}};
  std::string bytes(reinterpret_cast<const char*>(&kVersion), sizeof kVersion);
  return bytes.append(reinterpret_cast<const char*>(entries), sizeof entries);
}

bool set_list(const std::string& path, const char* name = kList) {
  const std::string list = access_list();
  return ::setxattr(path.c_str(), name, list.data(), list.size(), 0) == 0;
}

std::string list_of(const std::string& path) {
  char bytes[1000];
  const ssize_t size = ::getxattr(path.c_str(), kList, bytes, sizeof bytes);
  return size < 0 ? "" : std::string(bytes, static_cast<size_t>(size));
}

}  // namespace

BOOST_AUTO_TEST_CASE(access_lists_stay) {
  const Folder folder;
  write(folder / "listed", "x");
  if (!set_list(folder / "listed")) {
    BOOST_TEST_MESSAGE("this file system has no access control lists");
    return;
  }
  BOOST_TEST(mode_of(folder / "listed") == 0660u);
  write(folder / "listed", "y");
  BOOST_TEST((list_of(folder / "listed") == access_list()));
  BOOST_TEST(mode_of(folder / "listed") == 0660u);
  // What the folder gives to new files an old one does not get.
  write(folder / "plain", "x");
  BOOST_REQUIRE(set_list(folder.path, "system.posix_acl_default"));
  write(folder / "plain", "y");
  BOOST_TEST(list_of(folder / "plain").empty());
  BOOST_TEST(mode_of(folder / "plain") == 0644u);
  write(folder / "new", "x");
  BOOST_TEST(!list_of(folder / "new").empty());
}

BOOST_AUTO_TEST_CASE(what_can_be_written_is_told_before) {
  const Folder folder;
  write(folder / "a", "x");
  fs::create_directory(folder / "folder");
  fs::create_symlink("folder/new", folder / "to_new");
  fs::create_symlink("none/new", folder / "to_nowhere");
  fs::create_symlink("loop", folder / "loop");
  BOOST_REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  const size_t before = folder.files();
  for (const char* name : {"a", "new", "to_new", "fifo"}) check_writable(folder / name);
  for (const char* name : {"folder", "none/a", "a/b", "to_nowhere", "loop", ""}) {
    const auto message = [](const auto& f) -> std::string {
      try {
        f();
      } catch (const WriteError& error) {
        return error.what();
      }
      return "";
    };
    const std::string path = *name ? folder / name : "";
    const std::string told = message([&] { check_writable(path); });
    BOOST_TEST(!told.empty(), name);
    BOOST_TEST(told == message([&] { write(path, "x"); }));
  }
  BOOST_TEST(folder.files() == before);
  BOOST_TEST(read_file(folder / "a") == "x");
}

BOOST_AUTO_TEST_CASE(links_are_followed) {
  const Folder folder;
  fs::create_directory(folder / "far");
  fs::create_symlink("far/file", folder / "near");
  fs::create_symlink("near", folder / "nearer");
  for (const char* text : {"first", "second"}) {
    write(folder / "nearer", text);  // at first it leads nowhere
    BOOST_TEST(read_file(folder / "far/file") == text);
    BOOST_TEST(fs::is_symlink(folder / "near"));
    BOOST_TEST(fs::is_symlink(folder / "nearer"));
  }
  fs::create_symlink("loop", folder / "loop");
  BOOST_CHECK_EXCEPTION(write(folder / "loop", "x"), Error,
                        says("loop: cannot be written: Too many"));
  BOOST_CHECK_EXCEPTION(read_file(folder / "loop"), Error,
                        says("loop: cannot be opened: Too many"));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_says_why) {
  const Folder folder;
  write(folder / "file", "x");
  BOOST_CHECK_EXCEPTION(write(folder / "none/a", "x"), Error,
                        says("none/a: cannot be written: No such file or directory"));
  BOOST_CHECK_EXCEPTION(write(folder / "file/a", "x"), Error, says("Not a directory"));
  BOOST_CHECK_EXCEPTION(write(folder.path, "x"), Error, says("cannot be written: Is a directory"));
  BOOST_CHECK_EXCEPTION(write("", "x"), Error, says("No such file or directory"));
  BOOST_CHECK_EXCEPTION(write(folder / std::string(300, 'a').c_str(), "x"), Error,
                        says("File name too long"));
  BOOST_CHECK_EXCEPTION(read_file(folder / "none"), Error, says("none: cannot be opened: No such"));
  BOOST_CHECK_EXCEPTION(read_file(folder.path), Error, says("cannot be read: Is a directory"));
  using namespace std::string_literals;
  BOOST_CHECK_THROW(read_file((folder / "file") + "\0x"s), Error);
  BOOST_CHECK_THROW(write((folder / "file") + "\0x"s, "y"), Error);
  BOOST_TEST(read_file(folder / "file") == "x");
}

// As /dev/stdout is where a shell has redirected it.
BOOST_AUTO_TEST_CASE(a_file_that_is_open_gets_its_bytes_behind) {
  const Folder folder;
  write(folder / "log", "before ");
  const int open_file = ::open((folder / "log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  const std::string name = fmt::format("/proc/self/fd/{}", open_file);
  fs::create_symlink(name, folder / "link");
  write(name, "between ");
  write(folder / "link", "and ");
  BOOST_TEST(::write(open_file, "behind", 6) == 6);
  ::close(open_file);
  BOOST_TEST(read_file(folder / "log") == "before between and behind");
}

BOOST_AUTO_TEST_CASE(who_throws_while_writing_leaves_the_old_file) {
  const Folder folder;
  write(folder / "a", "old");
  BOOST_CHECK_THROW(write_file(folder / "a",
                               [](std::ostream& out) {
                                 out << letters(0);
                                 throw std::runtime_error("no");
                               }),
                    std::runtime_error);
  BOOST_CHECK_EXCEPTION(
      write_file(folder / "a", [](std::ostream& out) { out.setstate(std::ios::failbit); }), Error,
      says("a: cannot be written"));
  BOOST_TEST(read_file(folder / "a") == "old");
  BOOST_TEST(folder.files() == 1u);
}

BOOST_AUTO_TEST_CASE(a_child_that_leaves_takes_nothing_of_its_parent) {
  const Folder folder;
  pid_t child = 1;
  const auto write_and_fork = [&] {
    write_file(folder / "a", [&](std::ostream& out) {
      out << "x" << std::flush;
      child = ::fork();
      if (child == 0) throw std::runtime_error("no");
      ::waitpid(child, nullptr, 0);
    });
  };
  try {
    write_and_fork();
  } catch (const std::runtime_error&) {
    if (child == 0) ::_exit(0);
    throw;
  }
  BOOST_TEST(read_file(folder / "a") == "x");
  BOOST_TEST(folder.files() == 1u);
}

BOOST_AUTO_TEST_CASE(fifos_and_devices_stay_what_they_are) {
  const Folder folder;
  BOOST_REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  std::string got;
  std::thread reader([&] { got = read_file(folder / "fifo"); });
  write(folder / "fifo", letters(3));
  reader.join();
  BOOST_TEST((got == letters(3)));
  BOOST_TEST(fs::is_fifo(folder / "fifo"));
  if (::mknod((folder / "null").c_str(), S_IFCHR | 0666, ::makedev(1, 3)) == 0) {  // root may
    // A container may keep devices from being opened.
    const int descriptor = ::open((folder / "null").c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor >= 0) {
      ::close(descriptor);
      write(folder / "null", "x");
      BOOST_TEST(fs::is_character_file(folder / "null"));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_mount_point_is_written_directly) {
  const Folder folder;
  write(folder / "outside", "old");
  write(folder / "inside", "");
  constexpr int kMayNot = 77;
  const int status = in_a_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount((folder / "outside").c_str(), (folder / "inside").c_str(), nullptr, MS_BIND,
                nullptr) != 0)
      return kMayNot;
    write(folder / "inside", "new");
    return read_file(folder / "inside") == "new" ? 0 : 1;
  });
  BOOST_TEST((status == 0 || status == kMayNot));
  if (status == 0) BOOST_TEST(read_file(folder / "outside") == "new");
  BOOST_TEST(folder.files() == 2u);
}

// In a folder where no file can be made, as a container's read-only system.
BOOST_AUTO_TEST_CASE(a_mount_point_in_a_read_only_folder) {
  const Folder folder;
  write(folder / "outside", "old");
  fs::create_directory(folder / "ro");
  write(folder / "ro/inside", "");
  write(folder / "ro/other", "its own");
  constexpr int kMayNot = 77;
  const int status = in_a_child([&] {
    const std::string ro = folder / "ro", inside = folder / "ro/inside";
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(ro.c_str(), ro.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
        ::mount("none", ro.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0 ||
        ::mount((folder / "outside").c_str(), inside.c_str(), nullptr, MS_BIND, nullptr) != 0)
      return kMayNot;
    try {
      write_file(inside, [](std::ostream& out) {
        out << "half";
        throw std::runtime_error("no");
      });
    } catch (const std::runtime_error&) {
      if (read_file(inside) != "old") return 1;
    }
    write(inside, "new");
    if (read_file(inside) != "new") return 2;
    try {
      write(folder / "ro/other", "x");
    } catch (const WriteError& error) {
      return says("other: cannot be written: Read-only file system")(error) ? 0 : 3;
    }
    return 4;
  });
  BOOST_TEST((status == 0 || status == kMayNot), status);
  if (status == 0) BOOST_TEST(read_file(folder / "outside") == "new");
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_replaced) {
  const Folder folder;
  write(folder / "a", "old");
  ::chmod((folder / "a").c_str(), 0666);
  ::chmod(folder.path.c_str(), 0555);
  const int status = in_a_child([&] {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 77;
    try {
      write(folder / "a", "new");
    } catch (const WriteError& error) {
      return says("a: cannot be written: its folder lets no file be made")(error) ? 0 : 1;
    }
    return 2;
  });
  ::chmod(folder.path.c_str(), 0755);
  BOOST_TEST((status == 0 || status == 77), status);
  BOOST_TEST(read_file(folder / "a") == "old");
}

BOOST_AUTO_TEST_CASE(a_file_that_grows_too_large_is_not_there) {
  const Folder folder;
  write(folder / "a", "old");
  const int status = in_a_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write(folder / "a", letters(0));
    } catch (const WriteError& error) {
      return std::string(error.what()).ends_with("a: cannot be written: File too large") ? 0 : 1;
    }
    return 2;
  });
  BOOST_TEST(status == 0);
  BOOST_TEST(read_file(folder / "a") == "old");
  BOOST_TEST(folder.files() == 1u);
}

namespace {

/// A child that begins to write the file, and stays at it until it is killed.
pid_t child_that_writes(const Folder& folder, bool in_a_container) {
  int begun[2];
  BOOST_REQUIRE(::pipe(begun) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (in_a_container && (::unshare(CLONE_NEWPID) != 0 || ::fork() != 0)) {
      ::close(begun[1]);
      for (;;) ::pause();
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    write_file(folder / "a", [&](std::ostream& out) {
      out << letters(0) << std::flush;
      if (::write(begun[1], "x", 1) == 1)
        for (;;) ::pause();
    });
    ::_exit(1);
  }
  ::close(begun[1]);
  char byte = 0;
  const bool writes = ::read(begun[0], &byte, 1) == 1;
  ::close(begun[0]);
  if (!writes) ::kill(child, SIGKILL);
  return writes ? child : 0;
}

}  // namespace

// Whatever numbers processes have, and whoever has them by now.
BOOST_AUTO_TEST_CASE(what_ended_writers_left_is_removed) {
  const Folder folder;
  const auto removed_by = [&] {
    const size_t before = folder.files();
    remove_partial_files(folder.path);
    return before - folder.files();
  };
  const pid_t writer = child_that_writes(folder, false);
  BOOST_TEST(folder.files() == 1u);
  BOOST_TEST(removed_by() == 0u);
  siginfo_t ended;
  ::kill(writer, SIGKILL);
  ::waitid(P_PID, static_cast<id_t>(writer), &ended, WEXITED | WNOWAIT);
  BOOST_TEST(removed_by() == 1u, "of one that nobody has waited for");
  ::waitpid(writer, nullptr, 0);

  for (const pid_t living : {::getpid(), ::getppid(), 1}) {
    write(folder / fmt::format(".gradus-{}-7.partial", living).c_str(), "of one before");
    BOOST_TEST(removed_by() == 1u, "of one whose number another has");
  }
  write_file(folder / "a", [&](std::ostream& out) {
    BOOST_TEST(removed_by() == 0u, "that this process writes");
    out << "x";
  });
  BOOST_TEST(read_file(folder / "a") == "x");
  BOOST_TEST(folder.files() == 1u);
  BOOST_CHECK_EXCEPTION(remove_partial_files(folder / "none"), Error,
                        says("none: cannot be read: No such file"));
}

// Where processes have numbers of their own.
BOOST_AUTO_TEST_CASE(writers_in_a_container_are_let_write) {
  if (::geteuid() != 0) return;  // who may not make one
  const Folder folder;
  const pid_t writer = child_that_writes(folder, true);
  if (writer == 0) return;
  BOOST_TEST(folder.files() == 1u);
  remove_partial_files(folder.path);
  BOOST_TEST(folder.files() == 1u);
  ::kill(writer, SIGKILL);
  ::waitpid(writer, nullptr, 0);
  for (int i = 0; i < 1000 && folder.files() > 0; ++i) {  // until its child has ended, too
    ::usleep(1000);
    remove_partial_files(folder.path);
  }
  BOOST_TEST(folder.files() == 0u);
}

BOOST_AUTO_TEST_CASE(what_is_no_partial_file_stays) {
  const Folder folder;
  write(folder / "a", "x");
  fs::create_symlink("a", folder / ".gradus-1.partial");
  fs::create_directory(folder / ".gradus-2.partial");
  BOOST_REQUIRE(::mkfifo((folder / ".gradus-3.partial").c_str(), 0600) == 0);
  for (const char* name : {"a.partial", ".gradus-4", ".gradus-.partia", "gradus-5.partial"})
    write(folder / name, "x");
  const size_t before = folder.files();
  remove_partial_files(folder.path);
  BOOST_TEST(folder.files() == before);
}

BOOST_AUTO_TEST_CASE(a_file_is_removed_and_nothing_else) {
  const Folder folder;
  write(folder / "a", "x");
  fs::create_symlink("a", folder / "link");
  remove_file(folder / "link");
  remove_file(folder / "none");
  BOOST_TEST(folder.files() == 1u);
  remove_file(folder / "a");
  fs::create_directory(folder / "folder");
  BOOST_CHECK_EXCEPTION(remove_file(folder / "folder"), WriteError,
                        says("folder: cannot be removed: Is a directory"));
  BOOST_TEST(folder.files() == 1u);
}

// Writers that are killed at any moment, and another that is not: the file is always whole.
BOOST_AUTO_TEST_CASE(killed_writers_leave_a_whole_file) {
  const Folder folder;
  write(folder / "a", letters(0));
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (int i = 0; !stop; ++i) write(folder / "a", letters(i));
  });
  int whole = 0;
  const int kills = test::kills_of(200);
  for (int i = 0; i < kills; ++i) {
    const pid_t child = ::fork();
    if (child == 0)
      for (int k = i;; ++k) write(folder / "a", letters(k));
    for (int k = 0; k < 1 + i % 5; ++k) whole += is_whole(read_file(folder / "a")) ? 0 : 1;
    ::usleep(static_cast<useconds_t>(97 * i % 3000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    BOOST_TEST(is_whole(read_file(folder / "a")), "kill " << i);
  }
  stop = true;
  other.join();
  BOOST_TEST(whole == 0);
  BOOST_TEST(is_whole(read_file(folder / "a")));
}

#ifndef GRADUS_SANITIZED  // which has these functions' places itself

namespace {

thread_local int calls_until_failure = -1, failure_number = 0;
thread_local bool failed = false;
/// What else happens, once, before a file is made or locked.
thread_local std::function<void(const char*)> before_open;
thread_local std::function<int(int)> instead_of_lock;

/// Whether this call of the system fails.
bool fails() {
  if (calls_until_failure < 0 || calls_until_failure-- > 0) return false;
  errno = failure_number;
  return failed = true;
}

template <class F>
F* real(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {
int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (before_open && (flags & O_EXCL)) std::exchange(before_open, nullptr)(path);
  return fails() ? -1 : real<int(const char*, int, ...)>("open")(path, flags, mode);
}
ssize_t write(int file, const void* data, size_t size) {
  return fails() ? -1 : real<ssize_t(int, const void*, size_t)>("write")(file, data, size);
}
ssize_t read(int file, void* data, size_t size) {
  return fails() ? -1 : real<ssize_t(int, void*, size_t)>("read")(file, data, size);
}
int fcntl(int file, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* const value = va_arg(rest, void*);
  va_end(rest);
  return command == F_DUPFD_CLOEXEC && fails()
             ? -1
             : real<int(int, int, ...)>("fcntl")(file, command, value);
}
int flock(int file, int how) {
  return instead_of_lock ? instead_of_lock(file) : real<int(int, int)>("flock")(file, how);
}
int fsetxattr(int file, const char* name, const void* value, size_t size, int flags) noexcept {
  return fails() ? -1
                 : real<int(int, const char*, const void*, size_t, int)>("fsetxattr")(
                       file, name, value, size, flags);
}
int fsync(int file) { return fails() ? -1 : real<int(int)>("fsync")(file); }
int fchmod(int file, mode_t mode) {
  return fails() ? -1 : real<int(int, mode_t)>("fchmod")(file, mode);
}
int rename(const char* from, const char* to) {
  return fails() ? -1 : real<int(const char*, const char*)>("rename")(from, to);
}
}

// Every call of the system fails once: an Error with the reason and the old file, or all went well
// without it. An interrupted one is done again.
BOOST_AUTO_TEST_CASE(any_call_of_the_system_may_fail) {
  const Folder folder;
  for (const int number : {EIO, ENOSPC, EACCES, EINTR, EDQUOT}) {
    int k = 0, errors = 0;
    for (failed = true; failed; ++k) {
      write(folder / "a", letters(1));
      failed = false;
      failure_number = number;
      calls_until_failure = k;
      std::string text;
      bool threw = false;
      try {
        write(folder / "a", letters(2));
        text = read_file(folder / "a");
      } catch (const Error& error) {
        threw = true;
        BOOST_TEST(std::string(error.what()).ends_with(std::generic_category().message(number)),
                   error.what());
      }
      calls_until_failure = -1;
      errors += threw;
      BOOST_TEST((number != EINTR || !threw));
      BOOST_TEST((number != EIO || threw || !failed), "call " << k << " fails in silence");
      const std::string now = read_file(folder / "a");
      BOOST_TEST((now == letters(2) || (threw && now == letters(1))), "call " << k);
      BOOST_TEST((threw || text == letters(2)), "call " << k);
      BOOST_TEST(folder.files() == 1u, "call " << k);
    }
    BOOST_TEST(k > 7);
    BOOST_TEST((errors > 5 || number == EINTR), errors);
  }
}

// A list that cannot be kept leaves the group, whose permissions are then the list's, with none.
BOOST_AUTO_TEST_CASE(without_its_access_list_a_file_gives_nobody_more) {
  const Folder folder;
  bool lost = false;
  for (int k = 0; k < 20 && !lost; ++k) {
    write(folder / "a", "x");
    if (!set_list(folder / "a")) return;
    failure_number = EPERM;
    calls_until_failure = k;
    try {
      write(folder / "a", "y");
    } catch (const WriteError&) {
    }
    calls_until_failure = -1;
    lost = list_of(folder / "a").empty();
    if (lost) BOOST_TEST(mode_of(folder / "a") == 0600u);
  }
  BOOST_TEST(lost);
}

BOOST_AUTO_TEST_CASE(a_disk_that_turned_read_only_is_an_error) {
  const Folder folder;
  write(folder / "a", "old");
  for (int k = 0, errors = 0; errors < 8; ++k) {  // each call, the file's fsync among them
    failed = false;
    failure_number = EROFS;
    calls_until_failure = k;
    try {
      write(folder / "a", "new");
      calls_until_failure = -1;
      BOOST_TEST(!failed, "call " << k);
      if (!failed) break;
    } catch (const WriteError&) {
      ++errors;
    }
    calls_until_failure = -1;
  }
}

BOOST_AUTO_TEST_CASE(a_planted_link_gets_nothing) {
  const Folder folder;
  write(folder / "victim", "mine");
  before_open = [](const char* path) { fs::create_symlink("victim", path); };
  write(folder / "a", "x");
  BOOST_TEST(!before_open);
  BOOST_TEST(read_file(folder / "victim") == "mine");
  BOOST_TEST(read_file(folder / "a") == "x");
  BOOST_TEST(fs::is_regular_file(fs::symlink_status(folder / "a")));
}

// One that removes what is left comes between the making of a file and its lock.
BOOST_AUTO_TEST_CASE(a_file_that_goes_before_it_is_locked_is_made_anew) {
  const Folder folder;
  const auto lock = [](int file) { return real<int(int, int)>("flock")(file, LOCK_EX | LOCK_NB); };
  instead_of_lock = [&](int file) {
    instead_of_lock = nullptr;
    remove_partial_files(folder.path);
    BOOST_TEST(folder.files() == 0u);
    return lock(file);
  };
  write(folder / "a", "x");
  BOOST_TEST(read_file(folder / "a") == "x");
  BOOST_TEST(folder.files() == 1u);
  int other = -1;  // who holds the lock, and has not removed it yet
  instead_of_lock = [&](int file) {
    instead_of_lock = nullptr;
    other = ::open(fmt::format("/proc/self/fd/{}", file).c_str(), O_WRONLY | O_CLOEXEC);
    BOOST_TEST(lock(other) == 0);
    return lock(file);
  };
  write(folder / "a", "y");
  ::close(other);
  BOOST_TEST(read_file(folder / "a") == "y");
  BOOST_TEST(folder.files() == 1u);
}

BOOST_AUTO_TEST_CASE(where_nothing_can_be_locked_files_are_written_and_stay) {
  const Folder folder;
  write(folder / ".gradus-1.partial", "x");
  for (const int number : {ENOLCK, ENOSYS, EOPNOTSUPP, EINVAL, EBADF, EIO}) {
    instead_of_lock = [&](int) {
      errno = number;
      return -1;
    };
    write(folder / "a", letters(number));
    remove_partial_files(folder.path);
    instead_of_lock = nullptr;
    BOOST_TEST((read_file(folder / "a") == letters(number)));
    BOOST_TEST(folder.files() == 2u);
  }
}

#endif

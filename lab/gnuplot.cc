#include "lab/gnuplot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gradus/base/file.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <optional>

#include "lab/command.h"
#include "lab/progress.h"

namespace gradus::lab {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLongest = std::chrono::seconds(60);
constexpr int kPause = 100;  // ms
constexpr size_t kMostBytes = size_t{1} << 26;

/// The process, whose output `output` is; an errno if it cannot be started.
int start(const std::string& script, int output, pid_t& child) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::string program = "gnuplot", file = path_argument(script);
  char* arguments[] = {program.data(), file.data(), nullptr};
  const int failure = ::posix_spawnp(&child, "gnuplot", &files, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return failure;
}

/// All that comes from the pipe; false if its end does not come before `over`, or not within
/// kMostBytes.
bool drain(int pipe, std::string& bytes, const std::function<bool()>& over) {
  while (bytes.size() <= kMostBytes && !over()) {
    pollfd ready{pipe, POLLIN, 0};
    if (::poll(&ready, 1, kPause) <= 0) continue;
    char piece[1 << 14];
    const ssize_t n = ::read(pipe, piece, sizeof piece);
    if (n == 0) return true;
    if (n > 0) bytes.append(piece, static_cast<size_t>(n));
  }
  return false;
}

/// The child's status, if it ends before `over`; ended by force, and nothing, if not.
std::optional<int> status_of(pid_t child, const std::function<bool()>& over) {
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) return std::nullopt;
    if (over()) break;
    ::usleep(2000);
  }
  ::kill(-child, SIGKILL);
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return std::nullopt;
}

}  // namespace

GnuplotPicture gnuplot(const std::string& script) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0)
    return {"", fmt::format("gnuplot cannot be started: {}", std::strerror(errno))};
  pid_t child = 0;
  const int before = stopped_by();  // a second signal ends both
  const int failure = start(script, pipe[1], child);
  ::close(pipe[1]);
  GnuplotPicture picture;
  if (failure == 0) {
    const auto end = Clock::now() + kLongest;
    const auto stopped = [&] { return stopped_by() != before; };
    const auto over = [&] { return stopped() || Clock::now() >= end; };
    kill_on_second_signal(child);
    const bool drawn = drain(pipe[0], picture.bytes, over);
    const std::optional<int> status = status_of(child, [&] { return !drawn || over(); });
    kill_on_second_signal(0);
    if (!status)
      picture = {"", stopped() ? "gnuplot was stopped"
                               : "gnuplot took more than a minute or drew without end, and was "
                                 "ended"};
    else if (*status != 0 || picture.bytes.empty())
      picture = {"", "gnuplot failed"};
  } else {
    picture.failure = failure == ENOENT
                          ? "gnuplot is not installed"
                          : fmt::format("gnuplot cannot be started: {}", std::strerror(failure));
  }
  ::close(pipe[0]);
  return picture;
}

}  // namespace gradus::lab

#include "lab/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>

namespace gradus::lab {

namespace {

std::atomic<int> signal_number{0};
std::atomic<pid_t> helper{0};

void note_signal(int number) {
  if (signal_number.exchange(number) == 0) return;
  if (const pid_t group = helper; group != 0) ::kill(-group, SIGKILL);
  std::signal(number, SIG_DFL);
  std::raise(number);
}

bool on_terminal() {
  const char* type = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) && type && std::string(type) != "dumb";
}

size_t columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

}  // namespace

void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    // What is ignored stays so: by nohup, or in a shell's background.
    if (::sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      ::sigaction(signal, &action, nullptr);
  }
}

void kill_on_second_signal(pid_t group) { helper = group; }

int stopped_by() { return signal_number; }

std::string duration(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 120) return fmt::format("{} s", s);
  if (s < 7200) return fmt::format("{} min", (s + 59) / 60);
  return fmt::format("{} h {} min", s / 3600, s % 3600 / 60);
}

ProgressLine::ProgressLine()
    : live_(on_terminal()), last_(Clock::now() - std::chrono::milliseconds(100)) {}

ProgressLine::~ProgressLine() {
  if (live_) std::fprintf(stderr, "\r\033[K");
}

bool ProgressLine::due(bool milestone, bool step) const {
  const std::chrono::duration<double> since = Clock::now() - last_;
  return live_ ? since.count() >= 0.1 : milestone || (step && since.count() > 10);
}

void ProgressLine::show(const std::string& line) {
  last_ = Clock::now();
  if (live_)
    std::fprintf(stderr, "\r%s\033[K", line.substr(0, columns() - 1).c_str());
  else
    std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace gradus::lab

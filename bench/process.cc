#include "bench/process.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/measure.h"

namespace gradus::bench {

namespace {

std::string read_all(int file) {
  std::string text;
  char buffer[4096];
  ssize_t n;
  while ((n = read(file, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(n));
  return text;
}

}  // namespace

Ran run(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int ends[2];
  if (pipe(ends) != 0) return {-1, 0, 0, ""};
  const double begin = now_us();
  const pid_t child = vfork();  // fork would have the child start with this process's memory
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  Ran ran{-1, 0, 0, child > 0 ? read_all(ends[0]) : ""};
  close(ends[0]);
  int status = 0;
  rusage used{};
  if (child < 0 || wait4(child, &status, 0, &used) != child) return ran;
  ran.seconds = (now_us() - begin) / 1e6;
  ran.peak_mib = static_cast<double>(used.ru_maxrss) / 1024;
  if (WIFEXITED(status) && WEXITSTATUS(status) != 127) ran.status = WEXITSTATUS(status);
  return ran;
}

}  // namespace gradus::bench

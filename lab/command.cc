#include "lab/command.h"

#include <gradus/base/detail/named.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string_view>

namespace gradus::lab {

namespace {
constinit const Command* first_command = nullptr;
}

Command::Command(const char* command_name, const char* command_summary, Setup command_setup)
    : name(command_name), summary(command_summary), setup(command_setup), next(first_command) {
  first_command = this;
}

CLI::Option* add_result_options(CLI::App& app, ResultOptions& options) {
  app.add_option("--output,--out", options.output, "Folder for the results")->capture_default_str();
  app.add_option("--threads", options.threads,
                 "Threads; 0: one a core; results do not depend on it")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  return app.add_flag("--fresh", options.fresh, "Begin anew, whatever the folder holds");
}

std::string data_name(const std::string& data) {
  if (data == "digits" || data == "vowels") return data;
  std::filesystem::path folder;
  for (const auto& part : std::filesystem::path(data))
    if (!part.empty() && part != ".") folder /= part;
  const std::string name = folder.empty() ? "." : folder.native();
  return name == "digits" || name == "vowels" ? "./" + name : name;
}

std::string path_argument(const std::string& path) {
  const auto plain = [](unsigned char c) {
    return c >= 0x80 || std::isalnum(c) ||
           std::string_view("_/.").find(static_cast<char>(c)) != std::string_view::npos;
  };
  return path.empty() || plain(static_cast<unsigned char>(path.front())) ? path : "./" + path;
}

std::string shell_word(const std::string& path) {
  const std::string word = path_argument(path);
  const auto plain = [](unsigned char c) {
    return c >= 0x80 || std::isalnum(c) ||
           std::string_view("_-+=./:,@%").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') quoted += "'\\'";
    quoted += c;
  }
  return quoted + "'";
}

std::vector<const Command*> all_commands() { return detail::sorted_rows(first_command); }

}  // namespace gradus::lab

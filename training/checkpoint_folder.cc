#include <gradus/training/checkpoint_folder.h>

#include <charconv>
#include <filesystem>

namespace gradus {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBegin = "step-", kEnd = ".safetensors";

/// The step in a file's name; -1 if it is no checkpoint's.
int64_t step_of(const std::string& file) {
  if (!file.starts_with(kBegin) || !file.ends_with(kEnd)) return -1;
  const char *const first = file.data() + kBegin.size(), *const last = file.data() + file.size() -
                                                                       kEnd.size();
  int64_t step = -1;
  const auto [end, failure] = std::from_chars(first, last, step);
  return failure == std::errc() && end == last ? step : -1;
}

}  // namespace

CheckpointFolder::CheckpointFolder(Checkpoint& checkpoint, std::string folder,
                                   CheckpointFolderOptions options)
    : checkpoint_(checkpoint),
      folder_(std::move(folder)),
      options_(options),
      best_(options.improvement.worst()) {
  check(options.keep_last > 0, "CheckpointFolder: keep_last is {}, must be positive",
        options.keep_last);
  std::error_code failure;
  fs::create_directories(folder_, failure);
  check(!failure, "{}: the folder cannot be made: {}", folder_, failure.message());
  checkpoint_.add("best_metric", best_);
}

/// The checkpoints there are, by their step.
std::map<int64_t, std::string> CheckpointFolder::files() const {
  std::map<int64_t, std::string> found;
  std::error_code failure;
  for (fs::directory_iterator entry(folder_, failure), end; !failure && entry != end;
       entry.increment(failure))
    if (const int64_t step = step_of(entry->path().filename()); step >= 0)
      found[step] = entry->path();
  check(!failure, "{}: {}", folder_, failure.message());
  return found;
}

bool CheckpointFolder::save(int64_t step, double metric) {
  check(step >= 0, "CheckpointFolder: step {} is negative", step);
  const auto before = files();
  check(before.empty() || before.rbegin()->first <= step,
        "{}: holds step {}, later than the step {} that is to be saved; resume() goes on from "
        "there, another folder begins anew",
        folder_, before.empty() ? 0 : before.rbegin()->first, step);
  const double best_before = best_;
  const bool better = options_.improvement(metric, best_);
  if (better) best_ = metric;
  try {
    if (better) checkpoint_.save(best_path());  // one killed between the two saves it again
    checkpoint_.save(fmt::format("{}/{}{}{}", folder_, kBegin, step, kEnd));
  } catch (...) {
    best_ = best_before;
    throw;
  }
  auto now = files();
  for (; std::ssize(now) > options_.keep_last; now.erase(now.begin())) {
    std::error_code ignored;  // one that stays does no harm
    fs::remove(now.begin()->second, ignored);
  }
  return better;
}

bool CheckpointFolder::resume() {
  const auto found = files();
  if (found.empty()) return false;
  checkpoint_.load(found.rbegin()->second);
  return true;
}

}  // namespace gradus

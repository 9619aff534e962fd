#pragma once
#include <gradus/optim/improvement.h>
#include <gradus/training/checkpoint.h>

#include <map>
#include <string>

namespace gradus {

/// What of a training's checkpoints stays.
struct CheckpointFolderOptions {
  int64_t keep_last = 3;         ///< how many of the last
  Improvement improvement = {};  ///< when a metric makes one the best
};

/// A training's checkpoints in a folder: "step-<n>.safetensors", the last few, and
/// "best.safetensors", the one with the best metric so far, which a killed and resumed training
/// goes on comparing with.
///
///     CheckpointFolder folder(checkpoint, "run");
///     folder.resume();
///     for (; epoch < 20; ++epoch) { ...; folder.save(epoch, validation_loss); }
///     checkpoint.load(folder.best_path());
class CheckpointFolder {
 public:
  /// Makes the folder, and adds "best_metric" to the checkpoint, which must outlive this, as this
  /// the checkpoint's use. Errors: keep_last below 1, a folder that cannot be made.
  CheckpointFolder(Checkpoint& checkpoint, std::string folder,
                   CheckpointFolderOptions options = {});
  CheckpointFolder(const CheckpointFolder&) = delete;
  CheckpointFolder& operator=(const CheckpointFolder&) = delete;

  /// Saves the checkpoint of a step, before that as the best if its metric is better than all
  /// before, and then removes the oldest; returns whether it is the best. Errors: as
  /// Checkpoint::save, and a folder that holds a later step: another training's, or this one's
  /// before it went back.
  bool save(int64_t step, double metric);
  /// Loads the last checkpoint, if there is one; returns whether there was. Errors: as
  /// Checkpoint::load.
  bool resume();
  /// The best one's file.
  std::string best_path() const { return folder_ + "/best.safetensors"; }
  /// The best metric so far.
  double best() const { return best_; }

 private:
  std::map<int64_t, std::string> files() const;

  Checkpoint& checkpoint_;
  std::string folder_;
  CheckpointFolderOptions options_;
  double best_;
};

}  // namespace gradus

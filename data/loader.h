#pragma once
#include <gradus/data/dataset.h>

namespace gradus {

/// Some rows of a dataset: a dataset of its name and with its tensors' names.
using Batch = Dataset;

/// What becomes of the rows that do not fill a batch at an epoch's end. A kept batch of one row
/// makes BatchNorm fail in training.
enum class LastBatch { keep, drop };

/// How a dataset is cut into batches.
struct LoaderOptions {
  int64_t batch_size = 32;           ///< B
  bool shuffle = true;               ///< whether each epoch has an order of its own
  uint64_t seed = 0;                 ///< of those orders
  LastBatch last = LastBatch::keep;  ///< of fewer than batch_size rows
};

/// Cuts a dataset into batches, in an order drawn anew for each epoch by (seed, epoch):
///
///   for (const Batch& batch : loader.epoch(3)) ...
class DataLoader {
 public:
  /// Errors: those of check_dataset(), no rows, a batch size below 1 or, if the last one is
  /// dropped, above the rows.
  DataLoader(Dataset data, LoaderOptions options = {});

  /// Batches an epoch.
  int64_t size() const;

  class Epoch;
  /// The batches of epoch `number`, the same whenever it is asked for.
  Epoch epoch(uint64_t number) const;

 private:
  Dataset data_;
  LoaderOptions options_;
};

/// The batches of one epoch.
class DataLoader::Epoch {
 public:
  /// Makes each batch when it is asked for. The epoch must outlive it.
  class Iterator {
   public:
    /// The batch it stands at.
    Batch operator*() const { return epoch_->batch(index_); }
    /// On to the next.
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    /// Whether they stand at different batches.
    bool operator!=(const Iterator& other) const { return index_ != other.index_; }

   private:
    friend class Epoch;
    Iterator(const Epoch* epoch, int64_t index) : epoch_(epoch), index_(index) {}
    const Epoch* epoch_;
    int64_t index_;
  };
  /// From the first batch to behind the last.
  Iterator begin() const& { return {this, 0}; }
  Iterator end() const& { return {this, loader_.size()}; }
  Iterator begin() const&& = delete;
  Iterator end() const&& = delete;
  /// Batch i, 0 <= i < the loader's size(); another is an error.
  Batch batch(int64_t i) const;

 private:
  friend class DataLoader;
  Epoch(const DataLoader& loader, Tensor order) : loader_(loader), order_(std::move(order)) {}
  DataLoader loader_;  // a copy: handles to the same tensors
  Tensor order_;
};

}  // namespace gradus

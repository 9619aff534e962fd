#pragma once
#include <gradus/data/dataset.h>
#include <gradus/tensor/random.h>

#include <functional>
#include <memory>

namespace gradus {

/// Some rows of a dataset: a dataset of its name and with its tensors' names.
using Batch = Dataset;

/// What becomes of the rows that do not fill a batch at an epoch's end: they are one that is
/// smaller (BatchNorm fails in training where it is one row), they are left out, or the batch
/// before takes them.
enum class LastBatch { keep, drop, merge };

/// How a dataset is cut into batches.
struct LoaderOptions {
  int64_t batch_size = 32;           ///< B
  bool shuffle = true;               ///< whether each epoch has an order of its own
  uint64_t seed = 0;                 ///< of those orders, and of `transform`
  LastBatch last = LastBatch::keep;  ///< of fewer than batch_size rows
  /// 0, or of how many batches that follow each other the rows are sorted by "lengths" before they
  /// are cut into batches, which then come in an order of their own. Such a batch ends with its
  /// longest item: its tensors of as many steps as x, (N, T, ...), are cut.
  int64_t bucket = 0;
  /// What is done with each batch, e.g. an augmentation. It has to draw from the generator that it
  /// is given, which is that of (seed, epoch, batch), and from no other.
  std::function<Batch(const Batch& batch, Generator& generator)> transform = {};
  /// How many batches another thread makes ahead while a loop goes through an epoch; 0: none. They
  /// are the same, bit for bit. Where other programs are busy that thread gets its turn late: 8,
  /// say.
  int64_t prefetch = 0;
  /// Is told, behind each batch of a loop, how many of how many are done.
  std::function<void(int64_t done, int64_t batches)> progress = {};
};

/// Cuts a dataset into batches, in an order drawn anew for each epoch by (seed, epoch):
///
///   for (const Batch& batch : loader.epoch(3)) ...
class DataLoader {
 public:
  /// Errors: those of check_dataset(), no rows, a batch size below 1 or, if the last one is
  /// dropped, above the rows; to sort by lengths, no x (N, T, ...) or no "lengths" (N) i64 of 0 to
  /// T.
  DataLoader(Dataset data, LoaderOptions options = {});

  /// Batches an epoch.
  int64_t size() const;

  class Epoch;
  /// The batches of epoch `number`, the same whenever it is asked for.
  Epoch epoch(uint64_t number) const;

 private:
  Tensor order(uint64_t epoch) const;

  Dataset data_;
  LoaderOptions options_;
};

/// The batches of one epoch.
class DataLoader::Epoch {
 public:
  /// Gives each batch when it is asked for. The epoch must outlive it.
  class Iterator {
   public:
    /// The batch it stands at. What the thread that makes it ahead throws is thrown here.
    Batch operator*() const;
    /// On to the next.
    Iterator& operator++();
    /// Whether they stand at different batches.
    bool operator!=(const Iterator& other) const { return index_ != other.index_; }

   private:
    friend class Epoch;
    Iterator(const Epoch* epoch, int64_t index) : epoch_(epoch), index_(index) {}
    const Epoch* epoch_;
    int64_t index_;
    std::shared_ptr<class Prefetcher> ahead_;
  };
  /// From the first batch to behind the last. Where batches are made ahead, that thread begins
  /// here, with this thread's rounding, and ends with the iterator.
  Iterator begin() const&;
  Iterator end() const& { return {this, loader_.size()}; }
  Iterator begin() const&& = delete;
  Iterator end() const&& = delete;
  /// Batch i, 0 <= i < the loader's size(); another is an error.
  Batch batch(int64_t i) const;

 private:
  friend class DataLoader;
  Epoch(const DataLoader& loader, uint64_t number)
      : loader_(loader), number_(number), order_(loader.order(number)) {}
  DataLoader loader_;  // a copy: handles to the same tensors
  uint64_t number_;
  Tensor order_;
};

}  // namespace gradus

#include <fmt/format.h>
#include <gradus/data/loader.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <exception>
#include <limits>
#include <numeric>
#include <optional>
#include <system_error>
#include <thread>

namespace gradus {

namespace {

void check_lengths(const Dataset& data) {
  check(data.x && data.x.ndim() > 1 && data.has("lengths"),
        "DataLoader: {} is to be sorted by lengths; needs x (N, T, ...) and \"lengths\" (N)",
        data.name);
  const Tensor& lengths = data["lengths"];
  check(lengths.dtype() == DType::i64 && lengths.ndim() == 1,
        "DataLoader: the lengths of {} are {} {}, must be (N) i64", data.name, lengths.shape(),
        name(lengths.dtype()));
  for (const int64_t length : lengths.to_vector<int64_t>())
    check(length >= 0 && length <= data.x.size(1), "DataLoader: {} has a length of {} of {} steps",
          data.name, length, data.x.size(1));
}

/// x's first `steps` along axis 1, if they are as many as `all`.
Tensor cut(const Tensor& x, int64_t all, int64_t steps) {
  if (x.ndim() < 2 || x.size(1) != all) return x;
  Shape shape = x.shape();
  shape[1] = steps;
  return raw::contiguous(
      as_strided(x, shape, std::span(x.strides(), static_cast<size_t>(x.ndim())), 0));
}

}  // namespace

/// Makes an epoch's batches on a thread of its own, which waits while as many are ready as are
/// wanted.
class Prefetcher {
 public:
  Prefetcher(const DataLoader::Epoch& epoch, int64_t batches, int64_t ahead)
      : state_(new State(epoch, batches, ahead)) {
    try {
      thread_ = new std::thread([state = state_] { state->make_all(); });
    } catch (const std::system_error&) {  // then whoever asks makes them
    } catch (...) {
      delete state_;
      throw;
    }
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;
  ~Prefetcher() {
    if (is_in_child()) return;  // where there is no thread, and what it was at stays as it was
    if (thread_) {
      state_->set_taken(kStop);
      thread_->join();
    }
    delete thread_;
    delete state_;
  }

  /// Batch i, or nothing, if it was taken before, or no thread makes it.
  std::optional<Batch> take(int64_t i) {
    return thread_ && !is_in_child() ? state_->take(i) : std::nullopt;
  }

 private:
  static constexpr int64_t kStop = std::numeric_limits<int64_t>::max();

  struct State {
    State(const DataLoader::Epoch& epoch_, int64_t batches_, int64_t ahead)
        : epoch(epoch_), batches(batches_), ready(static_cast<size_t>(std::min(ahead, batches_))) {
      std::fegetenv(&environment);
    }

    void make_all() noexcept {
      std::fesetenv(&environment);
      const auto room = static_cast<int64_t>(ready.size());
      for (int64_t i = 0; i < batches; ++i) {
        for (int64_t now = taken; i - now >= room || now == kStop; now = taken) {
          if (now == kStop) return;
          taken.wait(now);
        }
        try {
          place(i) = epoch.batch(i);
        } catch (...) {
          failure = std::current_exception();
          failed = i;
        }
        made = i + 1;
        made.notify_one();
        if (failure) return;
      }
    }
    std::optional<Batch> take(int64_t i) {
      if (i < taken || i > failed) return std::nullopt;
      set_taken(i);  // what was passed over makes room
      for (int64_t now = made; now <= i; now = made) {
        if (now > failed) return std::nullopt;
        made.wait(now);
      }
      if (i == failed) std::rethrow_exception(failure);
      std::optional<Batch> batch = std::move(place(i));
      place(i).reset();
      set_taken(i + 1);
      return batch;
    }
    void set_taken(int64_t count) {
      taken = count;
      taken.notify_one();
    }
    std::optional<Batch>& place(int64_t i) { return ready[static_cast<size_t>(i) % ready.size()]; }

    DataLoader::Epoch epoch;
    int64_t batches;
    std::vector<std::optional<Batch>> ready;  // batch i at i % their number
    std::atomic<int64_t> made = 0, taken = 0;
    std::atomic<int64_t> failed = kStop;  // the batch that could not be made
    std::exception_ptr failure;
    std::fenv_t environment{};  // how the one who asks rounds
  };

  bool is_in_child() const { return ::getpid() != process_; }

  State* state_;
  std::thread* thread_ = nullptr;
  pid_t process_ = ::getpid();
};

DataLoader::DataLoader(Dataset data, LoaderOptions options)
    : data_(std::move(data)), options_(std::move(options)) {
  check_dataset("DataLoader", data_);
  data_ = data_.map(raw::contiguous);
  check(data_.size() > 0, "DataLoader: the dataset {} is empty", data_.name);
  check(options_.batch_size > 0, "DataLoader: a batch size of {}", options_.batch_size);
  check(size() > 0, "DataLoader: {} rows do not fill one batch of {}, and the last is dropped",
        data_.size(), options_.batch_size);
  check(options_.bucket >= 0, "DataLoader: bucket is {}; needs 0 or more", options_.bucket);
  check(options_.prefetch >= 0, "DataLoader: prefetch is {}; needs 0 or more", options_.prefetch);
  if (options_.bucket > 0) check_lengths(data_);
}

int64_t DataLoader::size() const {
  const int64_t full = data_.size() / options_.batch_size;
  if (options_.last == LastBatch::merge) return std::max<int64_t>(1, full);
  return full + (options_.last == LastBatch::keep && full * options_.batch_size < data_.size());
}

Tensor DataLoader::order(uint64_t epoch) const {
  Generator generator(Generator::State{options_.seed, epoch, 0});
  Tensor order = options_.shuffle ? randperm(data_.size(), generator) : arange(data_.size());
  if (options_.bucket == 0) return order;
  // Rows that do not fill a batch stay at the end, as they were drawn.
  const int64_t size = options_.batch_size, batches = data_.size() / size;
  const int64_t* const lengths = data_["lengths"].data<int64_t>();
  int64_t* const rows = order.mutable_data<int64_t>();
  for (int64_t first = 0; first < batches; first += std::min(options_.bucket, batches - first))
    std::stable_sort(rows + first * size,
                     rows + (first + std::min(options_.bucket, batches - first)) * size,
                     [&](int64_t a, int64_t b) { return lengths[a] < lengths[b]; });
  if (!options_.shuffle) return order;
  const std::vector<int64_t> sorted(rows, rows + batches * size),
      places = randperm(batches, generator).to_vector<int64_t>();
  for (int64_t i = 0; i < batches; ++i)
    std::copy_n(sorted.begin() + places[static_cast<size_t>(i)] * size, size, rows + i * size);
  return order;
}

DataLoader::Epoch DataLoader::epoch(uint64_t number) const { return {*this, number}; }

Batch DataLoader::Epoch::batch(int64_t i) const {
  const int64_t batches = loader_.size();
  check(i >= 0 && i < batches, "DataLoader: there is no batch {} of {}, they count from 0", i,
        batches);
  const LoaderOptions& options = loader_.options_;
  const int64_t size = options.batch_size, begin = i * size, left = loader_.data_.size() - begin;
  const bool takes_all = options.last == LastBatch::merge && i + 1 == batches;
  const int64_t one[] = {1};
  Batch batch =
      loader_.data_[as_strided(order_, {takes_all ? left : std::min(size, left)}, one, begin)];
  if (options.bucket > 0) {
    int64_t longest = std::min<int64_t>(1, batch.x.size(1));
    for (const int64_t length : batch["lengths"].to_vector<int64_t>())
      longest = std::max(longest, length);
    const int64_t all = batch.x.size(1);
    batch = batch.map([&](const Tensor& x) { return cut(x, all, longest); });
  }
  if (!options.transform) return batch;
  Generator generator(options.seed, fmt::format("batch {} of epoch {}", i, number_));
  return options.transform(batch, generator);
}

DataLoader::Epoch::Iterator DataLoader::Epoch::begin() const& {
  Iterator first(this, 0);
  const int64_t ahead = loader_.options_.prefetch;
  if (ahead > 0) first.ahead_ = std::make_shared<Prefetcher>(*this, loader_.size(), ahead);
  return first;
}

Batch DataLoader::Epoch::Iterator::operator*() const {
  if (ahead_)
    if (std::optional<Batch> batch = ahead_->take(index_)) return *std::move(batch);
  return epoch_->batch(index_);
}

DataLoader::Epoch::Iterator& DataLoader::Epoch::Iterator::operator++() {
  ++index_;
  const LoaderOptions& options = epoch_->loader_.options_;
  if (options.progress) options.progress(index_, epoch_->loader_.size());
  return *this;
}

}  // namespace gradus

#include <gradus/data/loader.h>
#include <gradus/tensor/random.h>

#include <algorithm>

namespace gradus {

DataLoader::DataLoader(Dataset data, LoaderOptions options)
    : data_(std::move(data)), options_(options) {
  check_dataset("DataLoader", data_);
  data_ = data_.map(raw::contiguous);
  check(data_.size() > 0, "DataLoader: the dataset {} is empty", data_.name);
  check(options.batch_size > 0, "DataLoader: a batch size of {}", options.batch_size);
  check(size() > 0, "DataLoader: {} rows do not fill one batch of {}, and the last is dropped",
        data_.size(), options.batch_size);
}

int64_t DataLoader::size() const {
  const int64_t full = data_.size() / options_.batch_size;
  return full + (options_.last == LastBatch::keep && full * options_.batch_size < data_.size());
}

DataLoader::Epoch DataLoader::epoch(uint64_t number) const {
  Generator generator(Generator::State{options_.seed, number, 0});
  return {*this, options_.shuffle ? randperm(data_.size(), generator) : arange(data_.size())};
}

Batch DataLoader::Epoch::batch(int64_t i) const {
  check(i >= 0 && i < loader_.size(), "DataLoader: there is no batch {} of {}, they count from 0",
        i, loader_.size());
  const int64_t size = loader_.options_.batch_size;
  const int64_t begin = i * size, count = std::min(size, loader_.data_.size() - begin);
  const int64_t one[] = {1};
  return loader_.data_[as_strided(order_, {count}, one, begin)];
}

}  // namespace gradus

#include <gradus/data/dataset.h>
#include <gradus/data/gzip.h>
#include <gradus/tensor/index.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <type_traits>

namespace gradus {

// data/digits/digits.csv.gz, embedded by the build.
extern const unsigned char digits_csv_gz[];
extern const size_t digits_csv_gz_size;

Dataset digits() {
  constexpr int64_t kCount = 1797, kPixels = 64;
  const std::string csv = MaybeGzipped("digits", digits_csv_gz, digits_csv_gz_size).read();
  Dataset data{"digits", empty({kCount, 1, 8, 8}), empty({kCount}, DType::i64), 10};
  float* pixel = data.x.mutable_data<float>();
  int64_t* label = data.y.mutable_data<int64_t>();
  const char* at = csv.data();
  const char* const end = at + csv.size();
  for (int64_t i = 0; i < kCount * (kPixels + 1); ++i) {
    int value = -1;
    at = std::from_chars(at, end, value).ptr;
    check(value >= 0 && at < end, "digits: the embedded data is damaged");
    ++at;  // a comma or the line's end
    if (i % (kPixels + 1) == kPixels)
      *label++ = value;
    else
      *pixel++ = static_cast<float>(value) / 16;
  }
  return data;
}

const Tensor* Dataset::find(std::string_view tensor) const {
  if (tensor == "x") return x ? &x : nullptr;
  if (tensor == "y") return y ? &y : nullptr;
  for (const auto& [key, value] : more)
    if (key == tensor) return &value;
  return nullptr;
}

int64_t Dataset::size() const {
  if (x) return x.size(0);
  if (y) return y.size(0);
  return more.empty() ? 0 : more.front().second.size(0);
}

const Tensor& Dataset::operator[](std::string_view tensor) const& {
  const Tensor* const found = find(tensor);
  if (found) return *found;
  std::string names;
  for (const auto& [key, value] : tensors()) names += (names.empty() ? "" : ", ") + key;
  fail("Dataset: {} has no tensor '{}'; it has {}", name, tensor, names.empty() ? "none" : names);
}

Dataset Dataset::operator[](const Tensor& indices) const {
  check_dataset("Dataset", *this);
  return map([&](const Tensor& t) { return raw::index_select(t, 0, indices, "Dataset"); });
}

NamedTensors Dataset::tensors() const {
  NamedTensors all;
  if (x) all.emplace_back("x", x);
  if (y) all.emplace_back("y", y);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

Dataset Dataset::map(const std::function<Tensor(const Tensor&)>& f) const {
  Dataset result = *this;
  if (x) result.x = f(x);
  if (y) result.y = f(y);
  for (auto& [key, value] : result.more) value = f(value);
  return result;
}

namespace {

/// Whether no name occurs twice, and "x" and "y" are not in `more`.
bool names_differ(const Dataset& data) {
  for (auto one = data.more.begin(); one != data.more.end(); ++one)
    if (one->first == "x" || one->first == "y" ||
        std::any_of(data.more.begin(), one, [&](const auto& o) { return o.first == one->first; }))
      return false;
  return true;
}

bool share_first_axis(const Dataset& data) {
  const auto fits = [n = data.size()](const Tensor& t) { return t.ndim() > 0 && t.size(0) == n; };
  return (!data.x || fits(data.x)) && (!data.y || fits(data.y)) &&
         std::all_of(data.more.begin(), data.more.end(),
                     [&](const auto& one) { return fits(one.second); });
}

std::string shapes(const Dataset& data) {
  std::string text;
  for (const auto& [name, value] : data.tensors())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value.shape());
  return text;
}

Dataset rows(const Dataset& data, const Tensor& order, int64_t begin, int64_t end) {
  const int64_t one[] = {1};
  return data[as_strided(order, {end - begin}, one, begin)];
}

/// How many of each row's elements lie before the item's end.
std::vector<int64_t> valid_counts(const Dataset& data) {
  const int64_t n = data.size(), row = n == 0 ? 0 : data.x.numel() / n;
  if (!data.has("lengths")) return std::vector<int64_t>(static_cast<size_t>(n), row);
  const Tensor& lengths = data["lengths"];
  check(data.x.ndim() > 1 && lengths.dtype() == DType::i64 && lengths.ndim() == 1,
        "standardize: {} has x {} and lengths {} {}; needs (N, T, ...) and one i64 for each",
        data.name, data.x.shape(), lengths.shape(), name(lengths.dtype()));
  const int64_t steps = data.x.size(1), step = steps == 0 ? 0 : row / steps;
  std::vector<int64_t> counts = lengths.to_vector<int64_t>();
  for (int64_t& count : counts) {
    check(count >= 0 && count <= steps, "standardize: {} has a length of {} of {} steps", data.name,
          count, steps);
    count *= step;
  }
  return counts;
}

/// Calls f(element) for all that lie before their item's end.
template <class X, class F>
void for_each_valid(X* x, const std::vector<int64_t>& counts, int64_t row, F f) {
  for (size_t n = 0; n < counts.size(); ++n)
    for (int64_t i = 0; i < counts[n]; ++i) f(x[static_cast<int64_t>(n) * row + i]);
}

template <class T>
void standardize_as(Split& data) {
  using Wide = std::conditional_t<sizeof(T) == sizeof(float), double, long double>;
  const std::vector<int64_t> counts = valid_counts(data.train);
  const raw::Contiguous train(data.train.x);
  std::vector<T> values;
  for_each_valid(train.data<T>(), counts,
                 train.tensor().numel() / std::max<int64_t>(1, data.train.size()),
                 [&](T value) { values.push_back(value); });
  check(std::adjacent_find(values.begin(), values.end(), std::not_equal_to()) != values.end(),
        "standardize: all training values of {} are equal", data.train.name);
  const auto count = static_cast<Wide>(values.size());
  Wide mean = 0, var = 0;
  for (Wide v : values) mean += v / count;
  for (Wide v : values) var += (v - mean) * (v - mean) / count;
  const Wide scale = 1 / std::sqrt(var);
  const std::vector<int64_t> test_counts = valid_counts(data.test);
  const auto changed = [&](const Dataset& part, const std::vector<int64_t>& valid) {
    Tensor x = raw::clone(part.x);
    for_each_valid(
        x.mutable_data<T>(), valid, x.numel() / std::max<int64_t>(1, part.size()),
        [&](T& value) { value = static_cast<T>((static_cast<Wide>(value) - mean) * scale); });
    return x;
  };
  Tensor test = changed(data.test, test_counts);  // both, or neither for want of memory
  data.train.x = changed(data.train, counts);
  data.test.x = std::move(test);
}

}  // namespace

void check_dataset(const char* op, const Dataset& data) {
  check(data.x || data.y || !data.more.empty(), "{}: the dataset {} has no tensors", op, data.name);
  for (const auto& [name, value] : data.more)
    check(static_cast<bool>(value), "{}: '{}' of {} is an empty handle", op, name, data.name);
  if (!names_differ(data)) [[unlikely]]
    fail("{}: {} has two tensors of one name: {}", op, data.name, shapes(data));
  if (!share_first_axis(data)) [[unlikely]]
    fail("{}: the tensors of {} must share their first axis, and are {}", op, data.name,
         shapes(data));
  check(data.classes == 0 || (data.y && data.y.dtype() == DType::i64),
        "{}: {} has {} classes, and y is {}; labels must be i64", op, data.name, data.classes,
        data.y ? name(data.y.dtype()) : "not there");
}

Split train_test_split(const Dataset& data, double test_fraction, uint64_t seed) {
  check_dataset("train_test_split", data);
  const int64_t n = data.size();
  const bool fraction = test_fraction > 0 && test_fraction < 1;
  const auto test =
      static_cast<int64_t>(fraction ? std::llround(test_fraction * static_cast<double>(n)) : 0);
  check(test > 0 && test < n,
        "train_test_split: {} of {}'s {} rows cannot be put aside for testing", test_fraction,
        data.name, n);
  Generator generator(seed, "split");
  const Tensor order = randperm(n, generator);
  return {rows(data, order, test, n), rows(data, order, 0, test)};
}

std::vector<Split> kfold(const Dataset& data, int64_t k, uint64_t seed) {
  check_dataset("kfold", data);
  const int64_t n = data.size();
  check(k >= 2 && k <= n, "kfold: {} folds of {}'s {} rows; needs 2 to as many as there are", k,
        data.name, n);
  Generator generator(seed, "kfold");
  const Tensor order = randperm(n, generator);
  const int64_t size = n / k, larger = n % k;  // the first ones have a row more
  std::vector<Split> splits;
  for (int64_t i = 0, begin = 0; i < k; ++i) {
    const int64_t end = begin + size + (i < larger);
    std::vector<int64_t> others = order.to_vector<int64_t>();
    others.erase(others.begin() + begin, others.begin() + end);
    splits.push_back(
        {data[Tensor::from(others, {n - (end - begin)})], rows(data, order, begin, end)});
    begin = end;
  }
  return splits;
}

void standardize(Split& data) {
  for (const Dataset* part : {&data.train, &data.test}) {
    check_dataset("standardize", *part);
    check(static_cast<bool>(part->x), "standardize: {} has no x", part->name);
  }
  check_same_dtype("standardize", data.train.x, data.test.x);
  Split changed = data;  // both parts or none
  dispatch_floating(data.train.x.dtype(), "standardize",
                    [&]<class T>() { standardize_as<T>(changed); });
  data = std::move(changed);
}

}  // namespace gradus

// Compiled with -ffp-contract=off (cmake/library.cmake), and no libm: the same normals everywhere.
#include <gradus/base/detail/fork.h>
#include <gradus/tensor/random.h>

#include <bit>
#include <cmath>
#include <mutex>
#include <utility>

namespace gradus {

namespace {

/// log(x) for normal x > 0: x = 2^k m with m near 1, log m = 2 artanh((m - 1) / (m + 1)).
double fixed_log(double x) {
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcd;
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const int64_t k = static_cast<int64_t>(bits - kSqrtHalf) >> 52;
  const double m = std::bit_cast<double>(bits - (static_cast<uint64_t>(k) << 52));
  const double s = (m - 1) / (m + 1), s2 = s * s;
  double series = 0;  // of artanh(s) / s - 1
  for (int n = 23; n >= 3; n -= 2) series = s2 * (series + 1.0 / n);
  return static_cast<double>(k) * 0x1.62e42fefa39efp-1 + 2 * (s + s * series);
}

struct SinCos {
  double sin, cos;
};

/// sin and cos of 2 pi x for x in [0, 1): Taylor's series around the nearest quarter.
SinCos fixed_sincos(double x) {
  const int quarter = static_cast<int>(4 * x + 0.5);
  const double angle = 0x1.921fb54442d18p+2 * (x - 0.25 * quarter), a2 = angle * angle;
  double sin = 1, cos = 1;
  for (int n = 16; n >= 2; n -= 2) {
    sin = 1 - sin * a2 * (1.0 / (n * (n + 1)));
    cos = 1 - cos * a2 * (1.0 / (n * (n - 1)));
  }
  sin *= angle;
  switch (quarter & 3) {
    case 0:
      return {sin, cos};
    case 1:
      return {cos, -sin};
    case 2:
      return {-sin, -cos};
  }
  return {-cos, sin};
}

struct NormalPair {
  double first, second;
};

NormalPair normal_pair(Generator& generator) {
  const double u = 1 - generator.uniform();  // (0, 1]
  const auto [sin, cos] = fixed_sincos(generator.uniform());
  const double radius = std::sqrt(-2 * fixed_log(u));
  return {radius * cos, radius * sin};
}

/// FNV-1a
uint64_t hash(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325;
  for (unsigned char c : text) h = (h ^ c) * 0x100000001b3;
  return h;
}

uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

template <class T>
T unit_uniform(Generator& generator) {
  if constexpr (sizeof(T) == 4)
    return static_cast<T>(generator.uint32() >> 8) * 0x1p-24f;
  else
    return generator.uniform();
}

}  // namespace

void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    c0 = high(p1) ^ c1 ^ k0;
    c1 = low(p1);
    c2 = high(p0) ^ c3 ^ k1;
    c3 = low(p0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  result[0] = c0, result[1] = c1, result[2] = c2, result[3] = c3;
}

Generator::Generator(uint64_t seed, std::string_view stream)
    : Generator(State{seed, hash(stream), 0}) {}

void Generator::set_state(const State& state) {
  state_ = state;
  if (state_.position % 4 != 0) next_block();
}

void Generator::next_block() {
  const uint64_t block = state_.position / 4;
  const uint32_t counter[] = {low(block), high(block), low(state_.stream), high(state_.stream)};
  const uint32_t key[] = {low(state_.seed), high(state_.seed)};
  philox(counter, key, block_);
}

double Generator::normal() { return normal_pair(*this).first; }

uint64_t Generator::below(uint64_t n) {
  check(n > 0, "Generator::below: no integer lies below 0");
  if (n <= UINT32_MAX) {  // Lemire 2019, "Fast random integer generation in an interval"
    uint64_t product = uint32() * n;
    if (low(product) < n) {
      const uint32_t unfair = low(-n) % low(n);  // 2^32 mod n
      while (low(product) < unfair) product = uint32() * n;
    }
    return product >> 32;
  }
  const uint64_t mask = ~uint64_t{0} >> std::countl_zero(n - 1);
  for (;;) {
    const uint64_t x = uint64() & mask;
    if (x < n) return x;
  }
}

namespace {

/// The process's seed, and which stream the next thread takes. Under process_mutex.
struct Streams {
  uint64_t seed = 0, next = 0;
};
constinit Streams streams;
// Streams that threads name lie apart from those that threads are given.
constexpr uint64_t kNamed = uint64_t{1} << 63;

struct ThreadGenerator {
  Generator generator{0};
  bool begun = false;
  void begin(const Generator& from) {
    generator = from;
    begun = true;
  }
};

ThreadGenerator& thread_generator() {
  static thread_local ThreadGenerator own;
  return own;
}

}  // namespace

Generator& default_generator() {
  ThreadGenerator& own = thread_generator();
  if (!own.begun) [[unlikely]] {
    const std::lock_guard lock(detail::process_mutex);
    own.begin(Generator({streams.seed, streams.next++, 0}));
  }
  return own.generator;
}

void manual_seed(uint64_t seed) {
  const std::lock_guard lock(detail::process_mutex);
  streams.seed = seed;
  streams.next = 1;
  thread_generator().begin(Generator(seed));
}

void manual_stream(uint64_t stream) {
  check(stream < kNamed, "manual_stream: {} is not below 2^63", stream);
  const std::lock_guard lock(detail::process_mutex);
  thread_generator().begin(Generator({streams.seed, kNamed + stream, 0}));
}

Tensor rand(const Shape& shape, Generator& generator, DType dtype) {
  Tensor x = empty(shape, dtype);
  dispatch_floating(dtype, "rand", [&]<class T>() {
    T* values = x.mutable_data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) values[i] = unit_uniform<T>(generator);
  });
  return x;
}

Tensor uniform(const Shape& shape, double low, double high, Generator& generator, DType dtype) {
  check(low <= high, "uniform: low {} is above high {}", low, high);
  check(std::isfinite(high - low), "uniform: {} to {} is no finite interval", low, high);
  for (double end : {low, high}) check_number("uniform", end, dtype);
  Tensor x = empty(shape, dtype);
  dispatch_floating(dtype, "uniform", [&]<class T>() {
    T* values = x.mutable_data<T>();
    const T from = static_cast<T>(low), below = static_cast<T>(high);
    const T last = from < below ? std::nextafter(below, from) : from;
    for (int64_t i = 0; i < x.numel(); ++i) {
      const T value = static_cast<T>(low + (high - low) * double{unit_uniform<T>(generator)});
      values[i] = value < below ? value : last;  // rounding may reach `high`
    }
  });
  return x;
}

Tensor randn(const Shape& shape, Generator& generator, DType dtype) {
  Tensor x = empty(shape, dtype);
  dispatch_floating(dtype, "randn", [&]<class T>() {
    T* values = x.mutable_data<T>();
    for (int64_t i = 0; i < x.numel(); i += 2) {
      const auto [first, second] = normal_pair(generator);
      values[i] = static_cast<T>(first);
      if (i + 1 < x.numel()) values[i + 1] = static_cast<T>(second);
    }
  });
  return x;
}

Tensor randint(int64_t low, int64_t high, const Shape& shape, Generator& generator) {
  check(low < high, "randint: no integer lies in [{}, {})", low, high);
  Tensor x = empty(shape, DType::i64);
  int64_t* values = x.mutable_data<int64_t>();
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  for (int64_t i = 0; i < x.numel(); ++i)
    values[i] = static_cast<int64_t>(static_cast<uint64_t>(low) + generator.below(range));
  return x;
}

Tensor bernoulli(const Shape& shape, double p, Generator& generator) {
  check(p >= 0 && p <= 1, "bernoulli: the probability {} does not lie in [0, 1]", p);
  Tensor x = empty(shape, DType::boolean);
  bool* values = x.mutable_data<bool>();
  const uint64_t first = static_cast<uint64_t>(std::llround((1 - p) * 0x1p32));
  for (int64_t i = 0; i < x.numel(); ++i) values[i] = generator.uint32() >= first;
  return x;
}

Tensor randperm(int64_t n, Generator& generator) {
  check(n >= 0, "randperm: a count of {}", n);
  Tensor x = arange(n);
  int64_t* values = x.mutable_data<int64_t>();
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(values[i], values[generator.below(static_cast<uint64_t>(i) + 1)]);
  return x;
}

}  // namespace gradus

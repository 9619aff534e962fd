#pragma once
#include <gradus/tensor/tensor.h>

#include <string_view>

namespace gradus {

/// Random numbers by counting: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy
/// as 1, 2, 3"), keyed by the seed. Integers, uniforms and normals are the same on every machine.
class Generator {
 public:
  /// All there is to know: a generator given the state of another goes on as that one would.
  struct State {
    uint64_t seed;      ///< which family of sequences
    uint64_t stream;    ///< 2^64 sequences for each seed
    uint64_t position;  ///< how many 32-bit words were drawn
    bool operator==(const State&) const = default;
  };

  /// From the beginning of this seed's first sequence.
  explicit Generator(uint64_t seed) : Generator(State{seed, 0, 0}) {}
  /// A sequence of its own for each name, e.g. of a parameter.
  Generator(uint64_t seed, std::string_view stream);
  /// Where a generator with this state would go on.
  explicit Generator(const State& state) { set_state(state); }

  /// Where it stands, to be saved and gone on from.
  State state() const { return state_; }
  void set_state(const State& state);

  /// The next 32 or 64 bits, each value as likely as the others.
  uint32_t uint32() {
    const uint64_t word = state_.position % 4;
    if (word == 0) next_block();
    ++state_.position;
    return block_[word];
  }
  uint64_t uint64() {
    const uint64_t low = uint32();
    return uint64_t{uint32()} << 32 | low;
  }
  /// [0, 1), a multiple of 2^-53
  double uniform() { return static_cast<double>(uint64() >> 11) * 0x1p-53; }
  /// Mean 0, variance 1 (Box & Muller 1958); of each pair only one, randn() uses both.
  double normal();
  /// 0 .. n-1, each as likely as the others; n > 0.
  uint64_t below(uint64_t n);

 private:
  void next_block();

  State state_;
  uint32_t block_[4];
};

/// Philox4x32-10's function of counter and key.
void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4]);

/// This thread's own generator, which draws where none is given. Its seed is the process's, 0 until
/// manual_seed(); its stream is 0 for the thread that draws first, 1 for the second, and so on, or
/// the one that manual_stream() named, which is none of these.
Generator& default_generator();
/// The process's seed: this thread's generator begins its stream 0, on whichever thread this is,
/// and threads that draw for the first time later take 1, 2, ...; others go on as they were.
void manual_seed(uint64_t seed);
/// This thread's generator begins the stream of this name of the process's seed, 2^63 + stream,
/// which no thread is given by itself: where several threads begin to draw in no fixed order, this
/// gives each of them the same numbers in every run. 2^63 and more is an error.
void manual_stream(uint64_t stream);

/// Independent uniforms from [0, 1).
Tensor rand(const Shape& shape, Generator& generator = default_generator(),
            DType dtype = DType::f32);
inline Tensor rand(const Shape& shape, DType dtype) {
  return rand(shape, default_generator(), dtype);
}
/// Independent normals of mean 0 and variance 1.
Tensor randn(const Shape& shape, Generator& generator = default_generator(),
             DType dtype = DType::f32);
inline Tensor randn(const Shape& shape, DType dtype) {
  return randn(shape, default_generator(), dtype);
}
/// Independent uniforms from [low, high).
Tensor uniform(const Shape& shape, double low, double high,
               Generator& generator = default_generator(), DType dtype = DType::f32);
/// Independent integers low .. high-1 (i64).
Tensor randint(int64_t low, int64_t high, const Shape& shape,
               Generator& generator = default_generator());
/// Independent booleans, true with probability p: where a draw of 32 bits is at least 2^32 (1 - p).
Tensor bernoulli(const Shape& shape, double p, Generator& generator = default_generator());
/// 0 .. n-1 in an order drawn at random (i64; Fisher & Yates).
Tensor randperm(int64_t n, Generator& generator = default_generator());

}  // namespace gradus

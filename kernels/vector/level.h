#pragma once
// What an instruction-set level is to the sources compiled for it (*.simd.cc). CMake's list of
// levels names for each the header level_<name>.h, which defines `Level`: a PlainLevel, and what
// the level can do better. Everything has internal linkage, since each source is compiled once per
// level.

#include <cstdint>
#include <type_traits>

namespace gradus::kernels {
namespace {

/// Vectors of so many bytes as GCC and Clang make them on any processor.
template <int bytes>
struct PlainLevel {
  static constexpr int kVectorBytes = bytes;

  template <class T>
  struct VectorOf {
    typedef T type __attribute__((vector_size(bytes)));
    typedef T unaligned __attribute__((vector_size(bytes), aligned(sizeof(T)), may_alias));
  };
  template <class T>
  using Vector = typename VectorOf<T>::type;

  /// A store past the caches to p, which is aligned to a vector. Before another thread may read
  /// there, order_streams().
  template <class T>
  static void stream(T* p, Vector<T> v) {
    *reinterpret_cast<Vector<T>*>(p) = v;
  }
  static void order_streams() {}

  /// The first `count` (1 to width) elements; the others are 0, or left alone in memory.
  template <class T>
  static Vector<T> load_first(const T* p, int count) {
    Vector<T> v = {};
    for (int i = 0; i < count; ++i) v[i] = p[i];
    return v;
  }
  template <class T>
  static void store_first(T* p, Vector<T> v, int count) {
    for (int i = 0; i < count; ++i) p[i] = v[i];
  }

  /// to[p * ld + j] = from[j * ldb + p] for a block of kBlock<T> rows and columns.
  template <class T>
  static constexpr int64_t kBlock = 1;
  template <class T>
  static void transpose_block(const T* from, int64_t, T* to, int64_t) {
    *to = *from;
  }

  /// f of a vector's halves, of the halves of that, and so on to one element.
  template <class V>
  static auto fold_halves(V v, auto f) {
    using T = std::remove_reference_t<decltype(v[0])>;
    constexpr int width = sizeof(V) / sizeof(T);
    T lanes[width];
    __builtin_memcpy(lanes, &v, sizeof v);
    for (int half = width / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) lanes[i] = f(lanes[i], lanes[i + half]);
    return lanes[0];
  }

  // What is in registers at a time. Of a product: vectors of sums, and how many of them side by
  // side. Of a direct convolution: outputs times vectors of pixels.
  static constexpr int kProductSums = 12, kProductVectors = 2;
  static constexpr int kConvOuts = 4, kConvPixels = 3;

  /// Whether OpenBLAS has kernels for products of few rows with a transposed B that read it where
  /// it lies, and so are faster than ours.
  static constexpr bool kThinToBlas = false;
};

}  // namespace
}  // namespace gradus::kernels

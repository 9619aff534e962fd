// Optimizers' steps; the compiler vectorizes the loops for this level.

#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/update/table.h>
#include <gradus/kernels/vector/math.h>
#include <gradus/kernels/vector/vectors.h>

namespace gradus::kernels {
namespace {

template <bool with_buffer, bool first, bool nesterov, class T>
void sgd_step(int64_t n, const T* __restrict g, T* __restrict p, T* __restrict buffer,
              const SgdStep& s) {
  const T lr = static_cast<T>(s.lr), momentum = static_cast<T>(s.momentum),
          fresh = static_cast<T>(1 - s.dampening), decay = static_cast<T>(s.weight_decay),
          grad_scale = static_cast<T>(s.grad_scale);
  for (int64_t i = 0; i < n; ++i) {
    const T d = g[i] * grad_scale + decay * p[i];
    T update = d;
    if constexpr (with_buffer) {
      buffer[i] = first ? d : momentum * buffer[i] + fresh * d;
      update = nesterov ? d + momentum * buffer[i] : buffer[i];
    }
    p[i] -= lr * update;
  }
}

template <class T>
void sgd(int64_t n, const T* g, T* p, T* buffer, const SgdStep& s) {
  const auto step =
      s.momentum == 0 ? sgd_step<false, false, false, T>
      : s.nesterov    ? (s.first ? sgd_step<true, true, true, T> : sgd_step<true, false, true, T>)
                   : (s.first ? sgd_step<true, true, false, T> : sgd_step<true, false, false, T>);
  step(n, g, p, buffer, s);
}

template <bool decoupled, class T>
void adam_step(int64_t n, const T* __restrict g, T* __restrict p, T* __restrict m, T* __restrict v,
               const AdamStep& s) {
  // m / (sqrt(v) / root2 + eps) is root2 m / (sqrt(v) + root2 eps): a division less.
  const double root2 = math::sqrt(s.correction2);
  const T fresh1 = static_cast<T>(1 - s.beta1), beta2 = static_cast<T>(s.beta2),
          fresh2 = static_cast<T>(1 - s.beta2), eps = static_cast<T>(s.eps * root2),
          step_size = static_cast<T>(s.lr * root2 / s.correction1),
          decay = static_cast<T>(decoupled ? 1 - s.lr * s.weight_decay : s.weight_decay),
          grad_scale = static_cast<T>(s.grad_scale);
  for (int64_t i = 0; i < n; ++i) {
    const T w = decoupled ? p[i] * decay : p[i];
    const T d = decoupled ? g[i] * grad_scale : g[i] * grad_scale + decay * p[i];
    m[i] += fresh1 * (d - m[i]);
    v[i] = beta2 * v[i] + fresh2 * d * d;
    p[i] = w - step_size * (m[i] / (math::sqrt(v[i]) + eps));
  }
}

template <class T>
void adam(int64_t n, const T* g, T* p, T* m, T* v, const AdamStep& s) {
  s.decoupled ? adam_step<true>(n, g, p, m, v, s) : adam_step<false>(n, g, p, m, v, s);
}

template <bool centered, bool with_buffer, class T>
void rmsprop_step(int64_t n, const T* __restrict g, T* __restrict p, T* __restrict v,
                  T* __restrict buffer, T* __restrict mean, const RmspropStep& s) {
  const T lr = static_cast<T>(s.lr), alpha = static_cast<T>(s.alpha),
          fresh = static_cast<T>(1 - s.alpha), eps = static_cast<T>(s.eps),
          decay = static_cast<T>(s.weight_decay), momentum = static_cast<T>(s.momentum),
          grad_scale = static_cast<T>(s.grad_scale);
  for (int64_t i = 0; i < n; ++i) {
    const T d = g[i] * grad_scale + decay * p[i];
    v[i] = alpha * v[i] + fresh * d * d;
    T square = v[i];
    if constexpr (centered) {
      mean[i] += fresh * (d - mean[i]);
      square -= mean[i] * mean[i];
      square = square < 0 ? T(0) : square;  // by rounding, when g hardly changes
    }
    T update = d / (math::sqrt(square) + eps);
    if constexpr (with_buffer) {
      update += momentum * buffer[i];
      buffer[i] = update;
    }
    p[i] -= lr * update;
  }
}

template <class T>
void rmsprop(int64_t n, const T* g, T* p, T* v, T* buffer, T* mean, const RmspropStep& s) {
  const auto step = mean ? (buffer ? rmsprop_step<true, true, T> : rmsprop_step<true, false, T>)
                         : (buffer ? rmsprop_step<false, true, T> : rmsprop_step<false, false, T>);
  step(n, g, p, v, buffer, mean, s);
}

template <class T>
double sum_of_squares(int64_t n, const T* x) {
  constexpr int width = kWidth<double>, parts = 4;
  typedef T Part __attribute__((vector_size(width * sizeof(T)), aligned(sizeof(T)), may_alias));
  Vector<double> sums[parts] = {};
  int64_t i = 0;
  for (; i + parts * width <= n; i += parts * width)
    unroll<parts>([&](int k) __attribute__((always_inline)) {
      const Part part = *reinterpret_cast<const Part*>(x + i + k * width);
      const Vector<double> v = __builtin_convertvector(part, Vector<double>);
      sums[k] += v * v;
    });
  double lanes[width], total = 0;
  store(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (int k = 0; k < width; ++k) total += lanes[k];
  for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

template <class T>
constexpr UpdateKernels<T> kTable = {sgd<T>, adam<T>, rmsprop<T>, sum_of_squares<T>};

}  // namespace

template <>
const UpdateKernels<float>& table_for<UpdateKernels<float>, Isa::GRADUS_ISA>() {
  return kTable<float>;
}
template <>
const UpdateKernels<double>& table_for<UpdateKernels<double>, Isa::GRADUS_ISA>() {
  return kTable<double>;
}

}  // namespace gradus::kernels

#include <gradus/data/standardizer.h>

#include <cmath>

namespace gradus {

namespace {

/// f(column, element) for all elements of x, (..., C) with `columns` of them.
template <class T, class F>
void for_each_element(const T* x, int64_t numel, int64_t columns, F f) {
  for (int64_t i = 0; i < numel; i += columns)
    for (int64_t c = 0; c < columns; ++c) f(c, x[i + c]);
}

void check_columns(const char* op, const Tensor& x, int64_t columns) {
  check(is_floating(x.dtype()) && x.ndim() > 0 && x.size(-1) == columns,
        "{}: x is {} {}, must be (..., {}) f32 or f64", op, x.shape(), name(x.dtype()), columns);
}

/// f(value, mean, scale) of each element, in double.
template <class F>
Tensor map_columns(const char* op, const Tensor& x, const Standardizer& by, F f) {
  const raw::Contiguous means(by.mean), scales(by.scale);
  const auto *const mean = means.data<double>(), *const scale = scales.data<double>();
  check_columns(op, x, by.mean.numel());
  const raw::Contiguous from(x);
  Tensor y = empty(x.shape(), x.dtype());
  dispatch_floating(x.dtype(), op, [&]<class T>() {
    T* to = y.mutable_data<T>();
    for_each_element(from.data<T>(), x.numel(), by.mean.numel(), [&](int64_t c, T value) {
      *to++ = static_cast<T>(f(static_cast<double>(value), mean[c], scale[c]));
    });
  });
  return y;
}

}  // namespace

Standardizer::Standardizer(int64_t columns)
    : mean(zeros({columns}, DType::f64)), scale(ones({columns}, DType::f64)) {}

Standardizer Standardizer::fit(const Tensor& x) {
  check(x.ndim() > 0, "Standardizer: x is a scalar, must be (..., C)");
  const int64_t columns = x.size(-1);
  check_columns("Standardizer", x, columns);
  Standardizer result(columns);
  const raw::Contiguous values(x);
  std::vector<int64_t> counts(static_cast<size_t>(columns));
  double* const means = result.mean.mutable_data<double>();
  double* const scales = result.scale.mutable_data<double>();
  std::vector<double> sums(counts.size()), firsts(counts.size());
  dispatch_floating(x.dtype(), "Standardizer", [&]<class T>() {
    const T* const first = values.data<T>();
    for_each_element(first, x.numel(), columns, [&](int64_t c, double value) {
      if (std::isnan(value)) return;
      const auto place = static_cast<size_t>(c);
      // In two passes, and from the first value on: a column of equal values has a variance of 0.
      if (counts[place]++ == 0) firsts[place] = value;
      means[c] += value - firsts[place];
    });
    for (int64_t c = 0; c < columns; ++c) {
      const auto place = static_cast<size_t>(c);
      check(counts[place] > 0, "Standardizer: column {} of x {} has no values", c, x.shape());
      means[c] = firsts[place] + means[c] / static_cast<double>(counts[place]);
      check(std::isfinite(means[c]), "Standardizer: column {} of x {} is not finite", c, x.shape());
    }
    for_each_element(first, x.numel(), columns, [&](int64_t c, double value) {
      if (!std::isnan(value))
        sums[static_cast<size_t>(c)] += (value - means[c]) * (value - means[c]);
    });
  });
  for (int64_t c = 0; c < columns; ++c) {
    const auto place = static_cast<size_t>(c);
    const double var = sums[place] / static_cast<double>(counts[place]);
    check(std::isfinite(var), "Standardizer: the values of column {} of x {} lie too far apart", c,
          x.shape());
    scales[c] = var > 0 ? std::sqrt(var) : 1;
  }
  return result;
}

Tensor Standardizer::apply(const Tensor& x) const {
  return map_columns("Standardizer", x, *this,
                     [](double value, double m, double s) { return (value - m) / s; });
}

Tensor Standardizer::invert(const Tensor& x) const {
  return map_columns("Standardizer", x, *this,
                     [](double value, double m, double s) { return value * s + m; });
}

}  // namespace gradus

#pragma once
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace gradus::kernels {

/// As many terms of a sum are added up in T, one by one; with more, their roundings would show.
constexpr int64_t kSumTerms = 64;

/// Sums (rows, columns) in T, rows `row` apart, to which others add terms, and which go over to
/// double after each kSumTerms of them. begin() clears them, next(n) stands before every n terms,
/// finish() after the last. One for each Use and thread at a time.
template <class T, class Use>
class LongSum {
 public:
  void begin(T* sums, int64_t rows, int64_t columns, int64_t row) {
    sums_ = sums, rows_ = rows, columns_ = columns, row_ = row;
    terms_ = 0;
    totals_ = nullptr;
    for (int64_t i = 0; i < rows; ++i) std::fill_n(sums + i * row, columns, T(0));
  }
  void next(int64_t terms = 1) {
    if (terms_ > 0 && terms_ + terms > kSumTerms && !std::is_same_v<T, double>) carry();
    terms_ += terms;
  }
  void finish() {
    for_each(totals_,
             [](T& sum, double& total) { sum = static_cast<T>(total + static_cast<double>(sum)); });
  }

 private:
  template <class F>
  void for_each(double* total, F f) {
    if (!total) return;
    for (int64_t i = 0; i < rows_; ++i)
      for (int64_t j = 0; j < columns_; ++j) f(sums_[i * row_ + j], *total++);
  }
  void carry() {
    if (!totals_) {
      totals_ = workspace<double, LongSum>(rows_ * columns_);
      std::fill_n(totals_, rows_ * columns_, 0.0);
    }
    for_each(totals_, [](T& sum, double& total) { total += static_cast<double>(sum), sum = 0; });
    terms_ = 0;
  }

  T* sums_ = nullptr;
  int64_t rows_ = 0, columns_ = 0, row_ = 0, terms_ = 0;
  double* totals_ = nullptr;
};

}  // namespace gradus::kernels

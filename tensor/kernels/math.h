#pragma once
#include <cmath>

namespace gradus::math {

static inline float exp(float x) { return std::exp(x); }
static inline float log(float x) { return std::log(x); }
static inline float log1p(float x) { return std::log1p(x); }
static inline float tanh(float x) { return std::tanh(x); }
static inline float erf(float x) { return std::erf(x); }
static inline float sin(float x) { return std::sin(x); }
static inline float cos(float x) { return std::cos(x); }
static inline float sqrt(float x) { return std::sqrt(x); }
static inline float abs(float x) { return std::fabs(x); }
static inline float pow(float x, float y) { return std::pow(x, y); }
static inline float sigmoid(float x) {
  const float e = math::exp(-math::abs(x));
  return (x < 0 ? e : 1.0f) / (1 + e);
}

static inline double exp(double x) { return std::exp(x); }
static inline double log(double x) { return std::log(x); }
static inline double log1p(double x) { return std::log1p(x); }
static inline double tanh(double x) { return std::tanh(x); }
static inline double erf(double x) { return std::erf(x); }
static inline double sin(double x) { return std::sin(x); }
static inline double cos(double x) { return std::cos(x); }
static inline double sqrt(double x) { return std::sqrt(x); }
static inline double abs(double x) { return std::fabs(x); }
static inline double pow(double x, double y) { return std::pow(x, y); }
static inline double sigmoid(double x) {
  const double e = math::exp(-math::abs(x));
  return (x < 0 ? e : 1.0) / (1 + e);
}

}  // namespace gradus::math

#pragma once
#include <cstdint>

// Elementary functions in f32 without branches or calls, so that GCC and Clang vectorize the loops
// around them; f64 goes to libm, and so does pow. Internal linkage and forced inlining, since these
// are compiled once for each instruction set. Largest errors measured, with FMA and without, over
// the whole range with denormals, infinities and NaN (tests/kernels/test_math.cc), in ULP: exp
// 0.84, expm1 1.46, log 0.79, log1p 0.80, tanh 1.16, erf 1.17, sigmoid 1.80, sin and cos 0.51.
namespace gradus::math {

#define GRADUS_MATH [[gnu::always_inline]] static inline

GRADUS_MATH float as_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }
GRADUS_MATH uint32_t as_bits(float x) { return __builtin_bit_cast(uint32_t, x); }
GRADUS_MATH float abs(float x) { return __builtin_fabsf(x); }
GRADUS_MATH float sqrt(float x) { return __builtin_sqrtf(x); }
GRADUS_MATH float pow(float x, float y) { return __builtin_powf(x, y); }
GRADUS_MATH float floor(float x) { return __builtin_floorf(x); }
GRADUS_MATH float ceil(float x) { return __builtin_ceilf(x); }
GRADUS_MATH float with_sign_of(float x, float sign) {
  return as_float((as_bits(x) & 0x7fffffffu) | (as_bits(sign) & 0x80000000u));
}

static constexpr float kInfinity = __builtin_inff();
// log(2) in two parts, the first so short that its products with exponents are exact.
static constexpr float kLn2High = 0x1.62ep-1f, kLn2Low = 3.1946184945e-05f;

/// q with e^r = 1 + r + r^2 q(r), |r| <= log(2) / 2.
GRADUS_MATH float exp_terms(float r) {
  float q = 1.978925575e-04f;
  q = q * r + 1.394575229e-03f;
  q = q * r + 8.333504200e-03f;
  q = q * r + 4.166628048e-02f;
  q = q * r + 1.666666567e-01f;
  q = q * r + 5.000000000e-01f;
  return q;
}

/// e^x = 2^k e^r.
GRADUS_MATH float exp(float x) {
  x = x > 89.0f ? 89.0f : x;  // overflows, as written here with NaN passing through
  x = x < -104.0f ? -104.0f : x;
  constexpr float round = 0x1.8p23f;  // added and subtracted: to the nearest integer
  const float shifted = x * 1.44269504f + round;
  const float n = shifted - round;
  const float high = x - n * kLn2High, low = n * kLn2Low;
  const float r = high - low, lost = (high - r) - low;
  const float y = 1 + (r + (r * r * exp_terms(r) + lost));
  // Two factors reach the denormals and infinity.
  const uint32_t k = as_bits(shifted) - as_bits(round);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(k) >> 1);
  return y * as_float((half + 127) << 23) * as_float((k - half + 127) << 23);
}

/// A positive normal number as 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)).
struct Reduced {
  float k, f;
};
GRADUS_MATH Reduced reduce(float x) {
  const uint32_t bits = as_bits(x) + (0x3f800000u - 0x3f3504f3u);
  return {static_cast<float>(static_cast<int32_t>(bits >> 23) - 127),
          as_float((bits & 0x7fffffu) + 0x3f3504f3u) - 1};
}

/// k log(2) + log(1 + f) + c, log((1 + s) / (1 - s)) = 2 s + s R(s^2) with s = f / (2 + f); k
/// log(2) and f are added last.
GRADUS_MATH float log_of(Reduced x, float c) {
  const float s = x.f / (2 + x.f), z = s * s, half_square = 0.5f * x.f * x.f;
  float p = 2.358259559e-01f;
  p = p * z + 2.853728533e-01f;
  p = p * z + 4.000033438e-01f;
  p = p * z + 6.666666269e-01f;
  const float small = s * (half_square + z * p) + (x.k * kLn2Low + c);
  return x.k * kLn2High - ((half_square - small) - x.f);
}

GRADUS_MATH float log(float x) {
  const bool denormal = x < 0x1p-126f;
  Reduced reduced = reduce(denormal ? x * 0x1p23f : x);
  reduced.k -= denormal ? 23.0f : 0.0f;
  float y = log_of(reduced, 0);
  y = x < kInfinity ? y : x;
  y = x == 0 ? -kInfinity : y;
  return x < 0 ? __builtin_nanf("") : y;
}

GRADUS_MATH float log1p(float x) {
  const float u = 1 + x;
  Reduced reduced = reduce(u);
  float c = (x > 1 ? 1 - (u - x) : x - (u - 1)) / u;  // what rounding took from u
  c = reduced.k == 0 ? 0.0f : c;
  reduced.f = reduced.k == 0 ? x : reduced.f;
  float y = log_of(reduced, c);
  y = x < kInfinity ? y : x;
  y = x == -1 ? -kInfinity : y;
  return x < -1 ? __builtin_nanf("") : y;
}

/// e^x = 2^n (1 + p), |x| <= 104; n stands in the last bits of `shifted`. What exp corrects for
/// last is left out.
struct PowerOfE {
  float shifted, p;
};
GRADUS_MATH PowerOfE power_of_e(float x) {
  constexpr float round = 0x1.8p23f;
  const float shifted = x * 1.44269504f + round;
  const float n = shifted - round;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  return {shifted, r + r * r * exp_terms(r)};
}
/// 2^(n + more), a normal number.
GRADUS_MATH float power_of_2(PowerOfE e, uint32_t more) {
  return as_float((as_bits(e.shifted) << 23) + ((127 + more) << 23));
}

/// 2^n (1 + p) - 1, from halves of its terms, which do not overflow before their sum does; near 0,
/// where those of denormals would be lost, x.
GRADUS_MATH float expm1(float x) {
  const float bounded = x > 89.0f ? 89.0f : x < -30.0f ? -30.0f : x;
  const PowerOfE e = power_of_e(bounded);
  const float half = power_of_2(e, ~0u);
  const float y = 2 * (half * e.p + (half - 0.5f));
  return with_sign_of(abs(x) < 0x1p-30f ? x : y, x);
}

/// Near 0 an odd polynomial, beyond 1 - 2 / (e^2x + 1).
GRADUS_MATH float tanh(float x) {
  const float a = abs(x), z = x * x;
  float near = -5.717053544e-03f;
  near = near * z + 2.065059543e-02f;
  near = near * z - 5.374350026e-02f;
  near = near * z + 1.333149076e-01f;
  near = near * z - 3.333328366e-01f;
  near = a + a * (z * near);
  const PowerOfE e = power_of_e(a > 9.1f ? 18.2f : 2 * a);
  const float s = power_of_2(e, 0), far = 1 - 2 / (s * e.p + (s + 1));
  return with_sign_of(a < 0.625f ? near : far, x);
}

/// e^(-x^2 / 2): as exp, of x^2 / 2 in two parts, the first of which is exact.
GRADUS_MATH float gauss(float x) {
  float t = abs(x);
  t = t > 14.43f ? 14.43f : t;  // 0 from here on
  const float head = as_float(as_bits(t) & 0xfffff000u);
  const float high = -0.5f * head * head, low = -0.5f * (t - head) * (t + head);
  constexpr float round = 0x1.8p23f;
  const float shifted = (high + low) * 1.44269504f + round;
  const float n = shifted - round;
  const float r = (high - n * kLn2High) + (low - n * kLn2Low);
  const PowerOfE e{shifted, r + r * r * exp_terms(r)};
  return (1 + e.p) * power_of_2(e, 24) * 0x1p-24f;  // down to the denormals
}

/// The normal distribution function: gauss(x) times a quotient of polynomials that decays as 1 / x.
GRADUS_MATH float normal_cdf(float x) {
  const float t = abs(x) > 14.43f ? 14.43f : abs(x);
  float p = 4.112035732e-03f;
  p = p * t + 4.060771494e-02f;
  p = p * t + 1.831642969e-01f;
  p = p * t + 4.382068856e-01f;
  p = p * t + 5.000000000e-01f;
  float q = 1.030722521e-02f;
  q = q * t + 1.017949005e-01f;
  q = q * t + 4.692821511e-01f;
  q = q * t + 1.202221069e+00f;
  q = q * t + 1.674298730e+00f;
  q = q * t + 1.000000000e+00f;
  const float tail = gauss(x) * (p / q);
  return x < 0 ? tail : 1 - tail;
}

/// Near 0 an odd polynomial, beyond 1 - e^(-t g(t)).
GRADUS_MATH float erf(float x) {
  float t = abs(x);
  t = t > 4 ? 4 : t;
  const float z = t * t;
  float p = 8.538839029e-05f;
  p = p * z - 8.181927260e-04f;
  p = p * z + 5.204435904e-03f;
  p = p * z - 2.686075307e-02f;
  p = p * z + 1.128371954e-01f;
  p = p * z - 3.761263490e-01f;
  p = p * z + 1.283791661e-01f;
  float g = 1.535058618e-05f;
  g = g * t - 3.608743718e-04f;
  g = g * t + 3.784542903e-03f;
  g = g * t - 2.403650247e-02f;
  g = g * t + 1.065266132e-01f;
  g = g * t + 6.349925995e-01f;
  g = g * t + 1.128683805e+00f;
  return with_sign_of(t < 0.9f ? t + t * p : 1 - exp(-(t * g)), x);
}

GRADUS_MATH float sigmoid(float x) {
  const float a = -abs(x);
  const PowerOfE power = power_of_e(a < -104.0f ? -104.0f : a);
  const float e = (1 + power.p) * power_of_2(power, 24) * 0x1p-24f;  // down to the denormals
  const float q = e / (1 + e);
  return x < 0 ? e - e * q : 1 - q;  // less rounding than in a quotient
}

// 2^i 2/pi modulo 4 for i = 0, 1, ...: its first 28 bits, and the next 53.
struct QuarterTurns {
  static constexpr int kCount = 106;
  double high[kCount], low[kCount];

  static constexpr double bits(int begin, int count, int weight) {
    constexpr uint32_t digits[] = {0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
                                   0xdb629599, 0x3c439041, 0xfe5163ab};  // of 2/pi
    uint64_t value = 0;
    for (int i = begin; i < begin + count; ++i)
      value = 2 * value + (i < 0 ? 0 : digits[i / 32] >> (31 - i % 32) & 1);
    double scaled = static_cast<double>(value);
    for (int i = 0; i < -weight; ++i) scaled /= 2;
    return scaled;
  }
  constexpr QuarterTurns() : high(), low() {
    for (int i = 0; i < kCount; ++i) {
      high[i] = bits(i - 2, 28, -26);
      low[i] = bits(i + 26, 53, -79);
    }
  }
};
static constexpr QuarterTurns kQuarterTurns;

/// sin(x + quarters pi / 2), in f64 inside: x 2/pi is n quarter turns and a rest, exactly enough
/// for every float since powers of two come reduced from the table.
GRADUS_MATH float sin_shifted(float x, uint64_t quarters) {
  const int32_t exponent = static_cast<int32_t>(as_bits(x) >> 23 & 255);
  const int64_t i = exponent > 150 ? exponent - 150 : 0;  // GCC gathers by no other type
  const double scaled = as_float(as_bits(x) - (static_cast<uint32_t>(i) << 23));
  const double turns = scaled * kQuarterTurns.high[i];
  constexpr double round = 0x1.8p52;
  const double more = scaled * kQuarterTurns.low[i];
  const double shifted = (turns + more) + round;
  const double r = ((turns - (shifted - round)) + more) * 1.57079632679489661923;
  const double z = r * r;
  double s = 2.718237321172535e-06;
  s = s * z - 0.00019839327140922582;
  s = s * z + 0.008333329362293083;
  s = s * z - 0.1666666664142663;
  s = r * (1 + z * s);
  double c = 2.4389634816227288e-05;
  c = c * z - 0.0013886755330066297;
  c = c * z + 0.04166662306480635;
  c = c * z - 0.49999999722909744;
  c = 1 + z * c;
  const uint64_t n = __builtin_bit_cast(uint64_t, shifted) + quarters;
  const uint64_t bits = __builtin_bit_cast(uint64_t, (n & 1) != 0 ? c : s) ^ ((n & 2) << 62);
  const float y = static_cast<float>(__builtin_bit_cast(double, bits));
  return abs(x) < kInfinity ? y : x - x;
}
GRADUS_MATH float sin(float x) { return sin_shifted(x, 0); }
GRADUS_MATH float cos(float x) { return sin_shifted(x, 1); }

GRADUS_MATH double exp(double x) { return __builtin_exp(x); }
GRADUS_MATH double log(double x) { return __builtin_log(x); }
GRADUS_MATH double log1p(double x) { return __builtin_log1p(x); }
GRADUS_MATH double expm1(double x) { return __builtin_expm1(x); }
GRADUS_MATH double with_sign_of(double x, double sign) { return __builtin_copysign(x, sign); }
GRADUS_MATH double floor(double x) { return __builtin_floor(x); }
GRADUS_MATH double ceil(double x) { return __builtin_ceil(x); }
GRADUS_MATH double tanh(double x) { return __builtin_tanh(x); }
GRADUS_MATH double erf(double x) { return __builtin_erf(x); }
GRADUS_MATH double sin(double x) { return __builtin_sin(x); }
GRADUS_MATH double cos(double x) { return __builtin_cos(x); }
GRADUS_MATH double abs(double x) { return __builtin_fabs(x); }
GRADUS_MATH double sqrt(double x) { return __builtin_sqrt(x); }
GRADUS_MATH double pow(double x, double y) { return __builtin_pow(x, y); }
GRADUS_MATH double sigmoid(double x) {
  const double e = exp(-abs(x));
  return (x < 0 ? e : 1.0) / (1 + e);
}

#undef GRADUS_MATH

}  // namespace gradus::math

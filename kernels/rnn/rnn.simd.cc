// One step of recurrent cells, a row of the state at a time; the compiler vectorizes the loops for
// this level.

#include <gradus/kernels/rnn/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/math.h>

namespace gradus::kernels {
namespace {

using math::sigmoid;
using math::tanh;

// Names as in rnn.h. A state that a cell does not have is a null.

// One function a loop: all gates of a unit in one would fill the processor's window with a few
// units, and their chains of operations would wait for each other.
template <class T>
void sigmoid_row(int64_t n, const T* __restrict b, T* __restrict x) {
  for (int64_t j = 0; j < n; ++j) x[j] = sigmoid(x[j] + b[j]);
}
template <class T>
void tanh_row(int64_t n, const T* __restrict b, T* __restrict x) {
  for (int64_t j = 0; j < n; ++j) x[j] = tanh(x[j] + b[j]);
}

template <class T>
void tanh_step(int64_t rows, int64_t hidden, const T* bias, const T*, const T*, T*, T* next_h, T*) {
  for (int64_t k = 0; k < rows; ++k) tanh_row(hidden, bias, next_h + k * hidden);
}

// h' = tanh(a):  da = dh' (1 - h'^2)
template <class T>
void tanh_step_backward(int64_t rows, int64_t hidden, const T*, const T*, const T*,
                        const T* __restrict next_h, const T*, T* __restrict dh, T*,
                        T* __restrict da) {
  for (int64_t j = 0; j < rows * hidden; ++j) {
    da[j] = dh[j] * (1 - next_h[j] * next_h[j]);
    dh[j] = 0;
  }
}

template <class T>
void relu_step(int64_t rows, int64_t hidden, const T* bias, const T*, const T*, T*, T* next_h, T*) {
  for (int64_t k = 0; k < rows; ++k, next_h += hidden) {
    const T* __restrict b = bias;
    T* __restrict h = next_h;
    for (int64_t j = 0; j < hidden; ++j) {
      const T a = h[j] + b[j];
      h[j] = a < 0 ? T(0) : a;  // NaN passes
    }
  }
}

template <class T>
void relu_step_backward(int64_t rows, int64_t hidden, const T*, const T*, const T*,
                        const T* __restrict next_h, const T*, T* __restrict dh, T*,
                        T* __restrict da) {
  for (int64_t j = 0; j < rows * hidden; ++j) {
    da[j] = next_h[j] <= 0 ? T(0) : dh[j];
    dh[j] = 0;
  }
}

template <class T>
void lstm_row(int64_t hidden, const T* __restrict c, const T* __restrict i, const T* __restrict f,
              const T* __restrict g, const T* __restrict o, T* __restrict next_h,
              T* __restrict next_c) {
  for (int64_t j = 0; j < hidden; ++j) {
    next_c[j] = f[j] * c[j] + i[j] * g[j];
    next_h[j] = o[j] * tanh(next_c[j]);
  }
}

template <class T>
void lstm_step(int64_t rows, int64_t hidden, const T* bias, const T*, const T* c, T* gates,
               T* next_h, T* next_c) {
  for (int64_t k = 0; k < rows; ++k) {
    T *i = gates, *f = i + hidden, *g = f + hidden, *o = g + hidden;
    sigmoid_row(2 * hidden, bias, i);  // and f
    tanh_row(hidden, bias + 2 * hidden, g);
    sigmoid_row(hidden, bias + 3 * hidden, o);
    lstm_row<T>(hidden, c, i, f, g, o, next_h, next_c);
    c += hidden, gates += 4 * hidden, next_h += hidden, next_c += hidden;
  }
}

// With q = tanh(c') and dc = dc' + dh' o (1 - q^2):  do = dh' q,  di = dc g,  df = dc c,  dg = dc
// i, each times its activation's derivative, s (1 - s) or 1 - g^2;  dc = dc f
template <class T>
void lstm_row_backward(int64_t hidden, const T* __restrict c, const T* __restrict i,
                       const T* __restrict f, const T* __restrict g, const T* __restrict o,
                       const T* __restrict next_c, T* __restrict dh, T* __restrict dc,
                       T* __restrict di, T* __restrict df, T* __restrict dg, T* __restrict d_o) {
  for (int64_t j = 0; j < hidden; ++j) {
    const T q = tanh(next_c[j]), d = dc[j] + dh[j] * o[j] * (1 - q * q);
    di[j] = d * g[j] * (i[j] * (1 - i[j]));
    df[j] = d * c[j] * (f[j] * (1 - f[j]));
    dg[j] = d * i[j] * (1 - g[j] * g[j]);
    d_o[j] = dh[j] * q * (o[j] * (1 - o[j]));
    dc[j] = d * f[j];
    dh[j] = 0;
  }
}

template <class T>
void lstm_step_backward(int64_t rows, int64_t hidden, const T*, const T* c, const T* gates,
                        const T*, const T* next_c, T* dh, T* dc, T* dgates) {
  for (int64_t k = 0; k < rows; ++k) {
    lstm_row_backward<T>(hidden, c, gates, gates + hidden, gates + 2 * hidden, gates + 3 * hidden,
                         next_c, dh, dc, dgates, dgates + hidden, dgates + 2 * hidden,
                         dgates + 3 * hidden);
    c += hidden, gates += 4 * hidden, next_c += hidden;
    dh += hidden, dc += hidden, dgates += 4 * hidden;
  }
}

template <class T>
void gru_row(int64_t hidden, const T* __restrict bn, const T* __restrict bu, const T* __restrict h,
             const T* __restrict r, const T* __restrict z, T* __restrict n, T* __restrict u,
             T* __restrict next_h) {
  for (int64_t j = 0; j < hidden; ++j) {
    u[j] = u[j] + bu[j];
    n[j] = tanh(n[j] + bn[j] + r[j] * u[j]);
    next_h[j] = n[j] + z[j] * (h[j] - n[j]);
  }
}

template <class T>
void gru_step(int64_t rows, int64_t hidden, const T* bias, const T* h, const T*, T* gates,
              T* next_h, T*) {
  for (int64_t k = 0; k < rows; ++k) {
    T *r = gates, *z = r + hidden, *n = z + hidden, *u = n + hidden;
    sigmoid_row(2 * hidden, bias, r);  // and z
    gru_row<T>(hidden, bias + 2 * hidden, bias + 3 * hidden, h, r, z, n, u, next_h);
    h += hidden, gates += 4 * hidden, next_h += hidden;
  }
}

// dn = dh' (1 - z) (1 - n^2),  du = dn r,  dr = dn u r (1 - r),  dz = dh' (h - n) z (1 - z);
// dh = dh' z
template <class T>
void gru_row_backward(int64_t hidden, const T* __restrict h, const T* __restrict r,
                      const T* __restrict z, const T* __restrict n, const T* __restrict u,
                      T* __restrict dh, T* __restrict dr, T* __restrict dz, T* __restrict dn,
                      T* __restrict du) {
  for (int64_t j = 0; j < hidden; ++j) {
    const T d = dh[j] * (1 - z[j]) * (1 - n[j] * n[j]);
    dr[j] = d * u[j] * (r[j] * (1 - r[j]));
    dz[j] = dh[j] * (h[j] - n[j]) * (z[j] * (1 - z[j]));
    dn[j] = d;
    du[j] = d * r[j];
    dh[j] = dh[j] * z[j];
  }
}

template <class T>
void gru_step_backward(int64_t rows, int64_t hidden, const T* h, const T*, const T* gates, const T*,
                       const T*, T* dh, T*, T* dgates) {
  for (int64_t k = 0; k < rows; ++k) {
    gru_row_backward<T>(hidden, h, gates, gates + hidden, gates + 2 * hidden, gates + 3 * hidden,
                        dh, dgates, dgates + hidden, dgates + 2 * hidden, dgates + 3 * hidden);
    h += hidden, gates += 4 * hidden, dh += hidden, dgates += 4 * hidden;
  }
}

template <class T>
constexpr RnnKernels<T> kKernels = {
    {tanh_step<T>, relu_step<T>, lstm_step<T>, gru_step<T>},
    {tanh_step_backward<T>, relu_step_backward<T>, lstm_step_backward<T>, gru_step_backward<T>}};

}  // namespace

GRADUS_TABLES(RnnKernels, kKernels)

}  // namespace gradus::kernels

#pragma once
#include <gradus/kernels/rnn/rnn.h>

#include <cmath>
#include <cstdint>
#include <vector>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

/// One step of one sequence: h' (and c') from a, u (G H), h and c (H).
template <class X>
void cell(CellKind kind, int64_t hidden, const X* a, const X* u, const X* h, const X* c, X* next_h,
          X* next_c) {
  using std::exp, std::tanh;
  const auto sigmoid = [](const X& v) { return X(1 / (1 + exp(-v))); };
  for (int64_t j = 0; j < hidden; ++j) {
    const auto sum = [&](int64_t gate) { return X(a[gate * hidden + j] + u[gate * hidden + j]); };
    if (kind == CellKind::tanh) {
      next_h[j] = tanh(sum(0));
    } else if (kind == CellKind::relu) {
      next_h[j] = sum(0) > 0 ? sum(0) : X(0);
    } else if (kind == CellKind::lstm) {
      next_c[j] = sigmoid(sum(1)) * c[j] + sigmoid(sum(0)) * tanh(sum(2));
      next_h[j] = sigmoid(sum(3)) * tanh(next_c[j]);
    } else {
      const X r = sigmoid(sum(0)), z = sigmoid(sum(1));
      const X n = tanh(a[2 * hidden + j] + r * u[2 * hidden + j]);
      next_h[j] = (1 - z) * n + z * h[j];
    }
  }
}

/// y (rows) = w (rows, columns) x + b
template <class X>
void affine(int64_t rows, int64_t columns, const X* w, const X* x, const X* b, X* y) {
  for (int64_t i = 0; i < rows; ++i) {
    y[i] = b ? b[i] : X(0);
    for (int64_t j = 0; j < columns; ++j) y[i] += w[i * columns + j] * x[j];
  }
}

/// a and u of step t of sequence n.
template <class X>
void sums(const Recurrence<X>& r, int64_t t, int64_t n, const X* h, X* a, X* u) {
  const int64_t rows = gates_of(r.kind) * r.hidden;
  const X* x = r.x + t * r.x_step + n * r.x_row;
  if (r.w_ih)
    affine(rows, r.inputs, r.w_ih, x, r.b_ih, a);
  else
    for (int64_t i = 0; i < rows; ++i) a[i] = x[i] + (r.b_ih ? r.b_ih[i] : X(0));
  affine(rows, r.hidden, r.w_hh, h, r.b_hh, u);
}

/// The definition of recurrence: h, c and y, without the gates.
template <class X>
void recurrence(const Recurrence<X>& r, X* states, X* cells, X* y) {
  const int64_t size = r.batch * r.hidden;
  std::vector<X> a(static_cast<size_t>(gates_of(r.kind) * r.hidden)), u(a);
  for (int64_t t = 0; t < r.steps; ++t)
    for (int64_t n = 0; n < r.batch; ++n) {
      const int64_t at = t * size + n * r.hidden;
      const X *h = states + at, *c = cells ? cells + at : nullptr;
      X *next_h = states + at + size, *next_c = cells ? cells + at + size : nullptr;
      sums(r, t, n, h, a.data(), u.data());
      cell(r.kind, r.hidden, a.data(), u.data(), h, c, next_h, next_c);
      const bool valid = !r.valid || r.valid[n * r.steps + t];
      for (int64_t j = 0; j < r.hidden; ++j) {
        if (!valid) next_h[j] = h[j];
        if (!valid && cells) next_c[j] = c[j];
        if (y) y[at + j] = valid ? next_h[j] : X(0);
      }
    }
}

/// The gradients da and du of a step's sums; dh and dc: in, of h' and c'; out, what comes to h and
/// c by another way than the sums.
template <class X>
void cell_backward(CellKind kind, int64_t hidden, const X* a, const X* u, const X* h, const X* c,
                   X* dh, X* dc, X* da, X* du) {
  using std::exp, std::tanh;
  const auto sigmoid = [](const X& v) { return X(1 / (1 + exp(-v))); };
  for (int64_t j = 0; j < hidden; ++j) {
    const auto sum = [&](int64_t gate) { return X(a[gate * hidden + j] + u[gate * hidden + j]); };
    const auto set = [&](int64_t gate, const X& d) {
      da[gate * hidden + j] = du[gate * hidden + j] = d;
    };
    const X g = dh[j];
    if (kind == CellKind::tanh) {
      const X next = tanh(sum(0));
      set(0, g * (1 - next * next));
      dh[j] = 0;
    } else if (kind == CellKind::relu) {
      set(0, sum(0) > 0 ? g : X(0));
      dh[j] = 0;
    } else if (kind == CellKind::lstm) {
      const X i = sigmoid(sum(0)), f = sigmoid(sum(1)), n = tanh(sum(2)), o = sigmoid(sum(3));
      const X q = tanh(f * c[j] + i * n), d = dc[j] + g * o * (1 - q * q);
      set(0, d * n * i * (1 - i));
      set(1, d * c[j] * f * (1 - f));
      set(2, d * i * (1 - n * n));
      set(3, g * q * o * (1 - o));
      dh[j] = 0;
      dc[j] = d * f;
    } else {
      const X r = sigmoid(sum(0)), z = sigmoid(sum(1)), un = u[2 * hidden + j];
      const X n = tanh(a[2 * hidden + j] + r * un), dn = g * (1 - z) * (1 - n * n);
      set(0, dn * un * r * (1 - r));
      set(1, g * (h[j] - n) * z * (1 - z));
      set(2, dn);
      du[2 * hidden + j] = dn * r;
      dh[j] = g * z;
    }
  }
}

/// Gradients of what Recurrence names, in its layout, and of the first h and c.
template <class X>
struct RecurrenceGradients {
  X *x, *w_ih, *w_hh, *b_ih, *b_hh, *h, *c;
};

/// The gradients for a dy (T, N, H) of y, added to what is there; d.h and d.c: in, of the last
/// state.
template <class X>
void recurrence_backward(const Recurrence<X>& r, const X* states, const X* cells, const X* dy,
                         const RecurrenceGradients<X>& d) {
  const int64_t rows = gates_of(r.kind) * r.hidden;
  std::vector<X> a(static_cast<size_t>(rows)), u(a), da(a), du(a);
  for (int64_t t = r.steps - 1; t >= 0; --t)
    for (int64_t n = 0; n < r.batch; ++n) {
      if (r.valid && !r.valid[n * r.steps + t]) continue;
      const int64_t at = (t * r.batch + n) * r.hidden, x_at = t * r.x_step + n * r.x_row;
      const X *h = states + at, *c = cells ? cells + at : nullptr;
      X *dh = d.h + n * r.hidden, *dc = cells ? d.c + n * r.hidden : nullptr;
      for (int64_t j = 0; j < r.hidden; ++j) dh[j] += dy[at + j];
      sums(r, t, n, h, a.data(), u.data());
      cell_backward(r.kind, r.hidden, a.data(), u.data(), h, c, dh, dc, da.data(), du.data());
      for (int64_t i = 0; i < rows; ++i) {
        const X dai = da[size_t(i)], dui = du[size_t(i)];
        d.b_ih[i] += dai;
        d.b_hh[i] += dui;
        if (!r.w_ih) d.x[x_at + i] += dai;
        for (int64_t j = 0; r.w_ih && j < r.inputs; ++j) {
          d.w_ih[i * r.inputs + j] += dai * r.x[x_at + j];
          d.x[x_at + j] += dai * r.w_ih[i * r.inputs + j];
        }
        for (int64_t j = 0; j < r.hidden; ++j) {
          d.w_hh[i * r.hidden + j] += dui * h[j];
          dh[j] += dui * r.w_hh[i * r.hidden + j];
        }
      }
    }
}

}  // namespace gradus::kernels::naive

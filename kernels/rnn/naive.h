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

/// The definition of recurrence: h, c and y, without the gates.
template <class X>
void recurrence(const Recurrence<X>& r, X* states, X* cells, X* y) {
  const int64_t rows = gates_of(r.kind) * r.hidden, size = r.batch * r.hidden;
  std::vector<X> a(static_cast<size_t>(rows)), u(a);
  for (int64_t t = 0; t < r.steps; ++t)
    for (int64_t n = 0; n < r.batch; ++n) {
      const X* x = r.x + t * r.x_step + n * r.x_row;
      const int64_t at = t * size + n * r.hidden;
      const X *h = states + at, *c = cells ? cells + at : nullptr;
      X *next_h = states + at + size, *next_c = cells ? cells + at + size : nullptr;
      if (r.w_ih)
        affine(rows, r.inputs, r.w_ih, x, r.b_ih, a.data());
      else
        for (int64_t i = 0; i < rows; ++i) a[size_t(i)] = x[i] + (r.b_ih ? r.b_ih[i] : X(0));
      affine(rows, r.hidden, r.w_hh, h, r.b_hh, u.data());
      cell(r.kind, r.hidden, a.data(), u.data(), h, c, next_h, next_c);
      const bool valid = !r.valid || r.valid[n * r.steps + t];
      for (int64_t j = 0; j < r.hidden; ++j) {
        if (!valid) next_h[j] = h[j];
        if (!valid && cells) next_c[j] = c[j];
        if (y) y[at + j] = valid ? next_h[j] : X(0);
      }
    }
}

}  // namespace gradus::kernels::naive

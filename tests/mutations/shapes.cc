#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>

#include "tests/mutations/mutant.h"

namespace gradus::mutations {

namespace {

const Function kRowSums = [](const Tensor& x) { return sum(x, {1}); };
const Function kVar = [](const Tensor& x) { return var(x, {1}); };
const Function kSlice = [](const Tensor& x) { return slice(x, 1, 2, 7); };
const Function kExpand = [](const Tensor& x) { return expand(x, {4, 3, 5}); };
const Function kConcat = [](const Tensor& a, const Tensor& b) { return concat({a, b}, 1); };

Tensor columns() { return Tensor::of({{2, 0, 2, 1, 2}, {3, 3, 0, 1, 3}}, DType::i64); }
Tensor tokens() { return Tensor::of({{0, 2, 2, 4}, {1, 0, 2, 4}}, DType::i64); }
const Function kGather = [](const Tensor& x) { return gather(x, 1, columns()); };
const Function kScatter = [](const Tensor& x, const Tensor& src) {
  return scatter_add(x, 1, columns(), src);
};
const Function kEmbedding = [](const Tensor& w) { return embedding(w, tokens()); };

std::function<Trial(uint64_t)> of_weight(const Shape& shape, Function f) {
  return [=](uint64_t seed) { return Trial{{normal(shape, seed, "weight")}, f}; };
}

}  // namespace

std::vector<Mutant> shape_mutants() {
  const char *const reduce = "reduce", *const shape = "shape", *const index = "index";
  return {
      {reduce,
       "sum",
       "the mean's gradient",
       [](Backward& c) {
         c.set(0, expand(reshape(c.dy(), {4, 1}) / 5, {4, 5}));
       },
       of_x({4, 5}, kRowSums),
       {"x"},
       Pattern::factor},
      {reduce,
       "sum",
       "wrong axis, which square shapes let pass (as RubixML/ML#423)",
       [](Backward& c) {
         c.set(0, expand(reshape(c.dy(), {1, 4}), {4, 4}));
       },
       of_x({4, 4}, kRowSums),
       {"x"},
       Pattern::wrong_axis},
      {reduce,
       "sum",
       "the first place of each sum left out",
       [](Backward& c) {
         Tensor dx = copy_of(expand(reshape(c.dy(), {4, 1}), {4, 5}));
         for (int64_t i = 0; i < 4; ++i) values(dx)[5 * i] = 0;
         c.set(0, dx);
       },
       of_x({4, 5}, kRowSums),
       {"x"},
       Pattern::entries_missing},
      {reduce,
       "var",
       "N for N - 1",
       [](Backward& c) { c.set(0, right(kVar, {c.kept(0)}, c.dy())[0] * (6.0 / 7)); },
       of_x({5, 7}, kVar),
       {"x"},
       Pattern::factor},
      {reduce,
       "var",
       "the mean not taken off",
       [](Backward& c) {
         c.set(0, c.kept(0) * reshape(c.dy(), {5, 1}) * (2.0 / 6));
       },
       of_x({5, 7}, kVar),
       {"x"},
       Pattern::mean_term},
      {reduce,
       "var",
       "wrong axis: the mean of columns taken off",
       [](Backward& c) {
         c.set(0, (c.kept(0) - mean(c.kept(0), {0}, true)) * reshape(c.dy(), {5, 1}) * (2.0 / 6));
       },
       of_x({5, 7}, kVar),
       {"x"},
       Pattern::wrong_axis},
      {reduce,
       "max",
       "mask not applied",
       [](Backward& c) {
         c.set(0, expand(reshape(c.dy(), {4, 1}), {4, 5}));
       },
       of_x({4, 5}, [](const Tensor& x) { return max(x, {1}); }),
       {"x"},
       Pattern::mask_not_applied},
      {reduce,
       "min",
       "mask of the largest",
       [](Backward& c) {
         const Tensor x = c.kept(0);
         const Tensor largest = cast(equal(x, max(x, {1}, true)), DType::f64);
         c.set(0, largest * reshape(c.dy(), {4, 1}));
       },
       of_x({4, 5}, [](const Tensor& x) { return min(x, {1}); }),
       {"x"}},

      {shape,
       "permute",
       "missing transposition, which square shapes let pass",
       [](Backward& c) { c.set(0, c.dy()); },
       of_x({4, 4}, [](const Tensor& x) { return transpose(square(x)); }),
       {"x"},
       Pattern::transposition},
      {shape,
       "permute",
       "missing transposition of a leaf",
       [](Backward& c) { c.set(0, c.dy()); },
       of_x({4, 4}, [](const Tensor& x) { return square(transpose(x)); }),
       {"x"},
       Pattern::transposition},
      {shape,
       "reshape",
       "column-major order",
       [](Backward& c) {
         c.set(0, reshape(transpose(reshape(c.dy(), {4, 3})), {3, 4}));
       },
       of_x({3, 4},
            [](const Tensor& x) {
              return reshape(x, {2, 6});
            }),
       {"x"}},
      {shape,
       "expand",
       "broadcast not reduced",
       [](Backward& c) { c.set(0, select(c.dy(), 0, 0)); },
       of_x({3, 5}, kExpand),
       {"x"},
       Pattern::broadcast_unreduced},
      {shape,
       "expand",
       "the mean for the sum",
       [](Backward& c) { c.set(0, mean(c.dy(), {0})); },
       of_x({3, 5}, kExpand),
       {"x"},
       Pattern::factor},
      {shape,
       "slice",
       "off by one place",
       [](Backward& c) {
         c.set(0, concat({zeros({3, 3}, DType::f64), c.dy(), zeros({3, 1}, DType::f64)}, 1));
       },
       of_x({3, 9}, [](const Tensor& x) { return slice(x, 1, 2, 7); }),
       {"x"},
       Pattern::shift},
      {shape,
       "slice",
       "the last place left out",
       [](Backward& c) {
         c.set(0, concat({zeros({3, 2}, DType::f64), slice(c.dy(), 1, 0, 4),
                          zeros({3, 3}, DType::f64)},
                         1));
       },
       of_x({3, 9}, kSlice),
       {"x"},
       Pattern::entries_missing},
      {shape,
       "concat",
       "the parts exchanged",
       [](Backward& c) {
         c.set(0, slice(c.dy(), 1, 4, 8));
         c.set(1, slice(c.dy(), 1, 0, 4));
       },
       of_ab({3, 4}, {3, 4}, kConcat),
       {"a", "b"},
       Pattern::swapped_inputs},
      {shape,
       "concat",
       "one part without gradient",
       [](Backward& c) { c.set(0, slice(c.dy(), 1, 0, 4)); },
       of_ab({3, 4}, {3, 2}, kConcat),
       {"b"},
       Pattern::no_gradient},
      {shape,
       "unbind",
       "overwritten: the last part alone arrives",
       [](Backward& c) {
         Tensor dx = zeros({3, 4, 2}, DType::f64);
         const Tensor last = copy_of(c.dy(3));
         for (int64_t i = 0; i < 3; ++i)
           for (int64_t k = 0; k < 2; ++k)
             values(dx)[(i * 4 + 3) * 2 + k] = last.data<double>()[i * 2 + k];
         c.set(0, dx);
       },
       of_x({3, 4, 2},
            [](const Tensor& x) {
              const TensorList parts = unbind(x, 1);
              return concat({parts[2], parts[0], parts[3], parts[1]}, 1);
            }),
       {"x"},
       Pattern::overwritten},

      {index,
       "gather",
       "overwritten where an index comes twice",
       [](Backward& c) {
         Tensor dx = zeros({2, 4}, DType::f64);
         const Tensor at = columns(), dy = copy_of(c.dy());
         for (int64_t k = 0; k < 10; ++k)
           values(dx)[k / 5 * 4 + at.data<int64_t>()[k]] = dy.data<double>()[k];
         c.set(0, dx);
       },
       of_x({2, 4}, kGather),
       {"x"},
       Pattern::overwritten},
      {index,
       "embedding",
       "overwritten where a token comes twice",
       [](Backward& c) {
         Tensor dw = zeros({5, 3}, DType::f64);
         const Tensor at = tokens(), dy = copy_of(c.dy());
         for (int64_t k = 0; k < 24; ++k)
           values(dw)[at.data<int64_t>()[k / 3] * 3 + k % 3] = dy.data<double>()[k];
         c.set(0, dw);
       },
       of_weight({5, 3}, kEmbedding),
       {"weight"},
       Pattern::overwritten},
      {index,
       "embedding",
       "divided by how often a token comes",
       [](Backward& c) {
         const Tensor count = reshape(Tensor::of({2, 1, 3, 1, 2}, DType::f64), {5, 1});
         c.set(0, right(kEmbedding, {zeros({5, 3}, DType::f64)}, c.dy())[0] / count);
       },
       of_weight({5, 3}, kEmbedding),
       {"weight"},
       Pattern::factor_per_group},
      {index,
       "embedding",
       "the last row left out",
       [](Backward& c) {
         Tensor dw = copy_of(right(kEmbedding, {zeros({5, 3}, DType::f64)}, c.dy())[0]);
         for (int64_t k = 12; k < 15; ++k) values(dw)[k] = 0;
         c.set(0, dw);
       },
       of_weight({5, 3}, kEmbedding),
       {"weight"},
       Pattern::entries_missing},
      {index,
       "scatter_add",
       "the sum's gradient not gathered: src without gradient",
       [](Backward& c) { c.set(0, c.dy()); },
       [](uint64_t seed) {
         return Trial{{normal({2, 4}, seed, "x"), normal({2, 5}, seed, "src")}, kScatter};
       },
       {"src"},
       Pattern::no_gradient},
      {index,
       "scatter_add",
       "x's gradient set to 0 where something was added",
       [](Backward& c) {
         Tensor dx = copy_of(c.dy());
         const Tensor places = columns();
         for (int64_t k = 0; k < 10; ++k) values(dx)[k / 5 * 4 + places.data<int64_t>()[k]] = 0;
         c.set(0, dx);
         c.set(1, gather(c.dy(), 1, columns()));
       },
       [](uint64_t seed) {
         return Trial{{normal({2, 4}, seed, "x"), normal({2, 5}, seed, "src")}, kScatter};
       },
       {"x"},
       Pattern::entries_missing},
  };
}

}  // namespace gradus::mutations

#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

std::vector<OpSample> gather_samples() {
  return {{"(3, 4) along 1",
           {sample({3, 4}, 1)},
           [](std::span<const Tensor> x) {
             return gather(x[0], 1, Tensor::of({{3, 0}, {1, 1}, {2, 3}}, DType::i64));
           }},
          {"(3, 2, 2) along 0", {sample({3, 2, 2}, 1)}, [](std::span<const Tensor> x) {
             return gather(
                 x[0], 0,
                 raw::reshape(Tensor::of({2, 0, 1, 1, 2, 2, 0, 1}, DType::i64), {2, 2, 2}));
           }}};
}

std::vector<OpSample> scatter_samples() {
  return {{"(3, 4) along 1",
           {sample({3, 4}, 1), sample({3, 2}, 2)},
           [](std::span<const Tensor> x) {
             return scatter_add(x[0], 1, Tensor::of({{3, 0}, {1, 1}, {2, 3}}, DType::i64), x[1]);
           }},
          {"(2, 3) along 0", {sample({2, 3}, 1), sample({3, 3}, 2)}, [](std::span<const Tensor> x) {
             return scatter_add(x[0], 0, Tensor::of({{1, 0, 1}, {0, 0, 1}, {1, 0, 1}}, DType::i64),
                                x[1]);
           }}};
}

Tensor some_parts() { return Tensor::of({2, 0, 2, 1}, DType::i64); }

std::vector<OpSample> select_samples() {
  return {{"(3, 4) along 0",
           {sample({3, 4}, 1)},
           [](std::span<const Tensor> x) { return index_select(x[0], 0, some_parts()); }},
          {"(2, 3, 2) along 1",
           {sample({2, 3, 2}, 1)},
           [](std::span<const Tensor> x) { return index_select(x[0], 1, some_parts()); }},
          {"(2, 4) along -1", {sample({2, 4}, 1)}, [](std::span<const Tensor> x) {
             return index_select(x[0], -1, some_parts());
           }}};
}

std::vector<OpSample> add_samples() {
  return {{"(3, 2) along 0",
           {sample({3, 2}, 1), sample({4, 2}, 2)},
           [](std::span<const Tensor> x) { return index_add(x[0], 0, some_parts(), x[1]); }},
          {"(2, 3, 2) along 1",
           {sample({2, 3, 2}, 1), sample({2, 4, 2}, 2)},
           [](std::span<const Tensor> x) { return index_add(x[0], 1, some_parts(), x[1]); }}};
}

Tensor sample_indices() { return Tensor::of({{3, 0, 3}, {1, 3, 1}}, DType::i64); }

Tensor rows_of(const Tensor& weight) { return embedding(weight, sample_indices()); }

}  // namespace

static OpSamples gather_row("gather", gather_samples);

static OpSamples scatter_add_row("scatter_add", scatter_samples);

static OpSamples index_select_row("index_select", select_samples);

static OpSamples index_add_row("index_add", add_samples);

static OpSamples add_rows_row("embedding_backward", [] {
  return std::vector{
      OpSample{"(2, 3, 2) into (4, 2)", {sample({2, 3, 2}, 1)}, [](std::span<const Tensor> x) {
                 return vjp(rows_of, zeros({4, 2}, DType::f64), x[0]);
               }}};
});

static OpSamples embedding_row("embedding", [] {
  return std::vector{OpSample{
      "(4, 3)", {sample({4, 3}, 1)}, [](std::span<const Tensor> x) { return rows_of(x[0]); }}};
});

}  // namespace gradus

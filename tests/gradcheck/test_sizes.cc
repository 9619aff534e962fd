// Every op with no rows, no columns, a scalar, and sizes at which kernels take another way: values,
// gradients and second order in f32 against the same op in f64, whose values test_ops.cc and the
// reference tests hold.
#define BOOST_TEST_MODULE sizes
#include <gradus/gradcheck/samples.h>
#include <gradus/gradus.h>

#include <functional>
#include <map>

#include "tests/checks.h"

using namespace gradus;

namespace {

using Ops = std::span<const Tensor>;

/// y, the gradients of sum y u, and those of the sum of their squares where there are few elements.
std::vector<std::vector<double>> results(const std::function<Tensor(Ops)>& f,
                                         std::vector<Tensor> inputs, bool second_order) {
  std::vector<std::vector<double>> all;
  for (Tensor& x : inputs) x.set_requires_grad();
  Tape tape;
  const Tensor y = f(inputs);
  all.push_back(y.to_vector<double>());
  if (!needs_grad(y)) return all;
  const Tensor dy = raw::cast(test::wave(y.shape(), 0.7, 0.9, 0.1), y.dtype());
  const auto create_graph = second_order ? CreateGraph::yes : CreateGraph::no;
  const std::vector<Tensor> dx = tape.gradient(
      y, inputs,
      {.create_graph = create_graph, .keep_graph = true, .dy = dy, .allow_unused = true});
  Tensor squares;
  for (size_t i = 0; i < dx.size(); ++i) {
    if (dx[i]) BOOST_TEST_REQUIRE((dx[i].shape() == inputs[i].shape()));
    all.push_back(dx[i] ? dx[i].to_vector<double>() : std::vector<double>());
    if (dx[i] && needs_grad(dx[i]))
      squares = squares ? squares + sum(square(dx[i])) : sum(square(dx[i]));
  }
  if (squares)
    for (const Tensor& d :
         tape.gradient(squares, inputs, {.keep_graph = true, .allow_unused = true}))
      all.push_back(d ? d.to_vector<double>() : std::vector<double>());
  // The way without a record of its own.
  if (second_order) tape.gradient(y, inputs, {.dy = dy, .allow_unused = true});
  return all;
}

/// Within 2^-10 of the largest, or of 1: what is read from beside the memory or left out is seen.
void compare(const std::function<Tensor(Ops)>& f, std::span<const Tensor> inputs,
             bool second_order) {
  std::vector<Tensor> narrow, wide;
  for (const Tensor& x : inputs) {
    narrow.push_back(raw::clone(raw::cast(x, DType::f32)));
    wide.push_back(raw::clone(raw::cast(narrow.back(), DType::f64)));
  }
  const auto found = results(f, narrow, second_order), expected = results(f, wide, second_order);
  BOOST_TEST_REQUIRE(found.size() == expected.size());
  for (size_t k = 0; k < found.size(); ++k) {
    BOOST_TEST_REQUIRE(found[k].size() == expected[k].size());
    double largest = 1;  // what may cancel
    for (double v : expected[k]) largest = std::max(largest, std::abs(v));
    for (size_t j = 0; j < found[k].size(); ++j) {
      const double a = found[k][j], e = expected[k][j];
      if ((std::isnan(a) && std::isnan(e)) || std::abs(a - e) <= 0x1p-10 * largest) continue;
      BOOST_ERROR("result " << k << ", element " << j << " is " << a << ", not " << e);
      return;
    }
  }
}

bool gives_result(const std::function<Tensor(Ops)>& f, std::span<const Tensor> inputs,
                  DType dtype) {
  std::vector<Tensor> all;
  for (const Tensor& x : inputs) all.push_back(raw::clone(raw::cast(x, dtype)));
  try {
    const NoRecord pause;
    f(all);
  } catch (const Error&) {
    return false;
  }
  return true;
}

/// compare(); an Error is right where an op is not defined. A sample that holds f64 tensors itself
/// runs in f64 alone.
bool try_to_compare(const std::function<Tensor(Ops)>& f, std::span<const Tensor> inputs,
                    bool second_order) {
  if (!gives_result(f, inputs, DType::f64)) return false;
  try {
    if (gives_result(f, inputs, DType::f32))
      compare(f, inputs, second_order);
    else
      results(f, std::vector(inputs.begin(), inputs.end()), second_order);
  } catch (const std::exception& error) {
    BOOST_ERROR("going back threw: " << error.what());
  }
  return true;
}

/// The samples' inputs with every size that is `from` replaced.
std::vector<Tensor> resized(std::span<const Tensor> inputs, int64_t from, int64_t to) {
  std::vector<Tensor> all;
  for (const Tensor& x : inputs) {
    Shape shape = x.shape();
    for (int i = 0; i < shape.ndim(); ++i)
      if (shape[i] == from) shape[i] = to;
    all.push_back(sample(shape, 5 + all.size(), 0.2, 1.8));
  }
  return all;
}

using Make = std::function<std::vector<Tensor>(int64_t)>;
Make shapes(std::function<std::vector<Shape>(int64_t)> of) {
  return [of](int64_t n) {
    std::vector<Tensor> all;
    for (const Shape& shape : of(n)) all.push_back(sample(shape, 3 + all.size(), 0.2, 1.8));
    return all;
  };
}

/// An op, inputs of a size n that is cut into blocks, and those n.
struct Cut {
  const char* what;
  std::function<Tensor(Ops)> f;
  Make inputs;
  std::vector<int64_t> sizes;
};

std::vector<int64_t> around(std::initializer_list<int64_t> sizes) {
  std::vector<int64_t> all{0, 1};
  for (int64_t n : sizes)
    for (int64_t k : {n - 1, n, n + 1}) all.push_back(k);
  return all;
}

// The sizes are the kernels' constants: lengths of vectors, blocks, tiles, pieces, grains.
std::vector<Cut> cuts() {
  const auto rows = shapes([](int64_t n) { return std::vector<Shape>{{3, n}}; });
  const auto columns = shapes([](int64_t n) { return std::vector<Shape>{{5, n}}; });
  const auto deep = shapes([](int64_t n) { return std::vector<Shape>{{n, 3}}; });
  const auto one_row = shapes([](int64_t n) { return std::vector<Shape>{{1, n}}; });
  const auto along = [](Tensor (*f)(const Tensor&, const Axes&, bool), int64_t axis) {
    return [=](Ops x) { return f(x[0], {axis}, false); };
  };
  const auto weighted = shapes([](int64_t n) { return std::vector<Shape>{{4, n}, {n}, {n}}; });
  const auto norm = [](Ops x) { return layer_norm(x[0], {x[1].size(0)}, x[1], x[2]); };
  const auto batch = [](ChannelAxis axis) {
    return [=](Ops x) { return batch_norm(x[0], x[1], x[2], {.axis = axis}).y; };
  };
  const auto pixels = shapes([](int64_t n) { return std::vector<Shape>{{2, 3, n}, {3}, {3}}; });
  const auto product = [](Ops x) { return matmul(x[0], x[1]); };
  const auto conv = [](Ops x) { return conv2d(x[0], x[1], x[2], {.padding = {1, 1}}); };
  const std::vector<int64_t> vectors = around({4, 8, 16, 32, 64, 128}),
                             blocks = around({512, 1024}), tall = around({64, 128, 512}),
                             pieces = {0, 1, 65535, 65536, 65537, 70000, 131073};
  std::vector<Cut> all{
      {"exp of vectors", [](Ops x) { return exp(x[0]); }, rows, vectors},
      {"mul over a grain", [](Ops x) { return mul(x[0], x[0]); }, one_row, {32767, 32769, 65537}},
      {"sum of rows", along(sum, 1), rows, blocks},
      {"sum of a long row", along(sum, 1), one_row, pieces},
      {"sum of columns", along(sum, 0), columns, blocks},
      {"sum of tall columns", along(sum, 0), deep, tall},
      {"mean of all", [](Ops x) { return mean(x[0]); }, rows, pieces},
      {"max of rows", along(max, 1), rows, vectors},
      {"max of a long row", along(max, 1), one_row, pieces},
      {"min of a long row", along(min, 1), one_row, pieces},
      {"max of columns", along(max, 0), columns, blocks},
      {"softmax of rows", [](Ops x) { return softmax(x[0]); }, rows, around({16, 128, 2048})},
      {"softmax of many rows", [](Ops x) { return softmax(x[0]); }, deep, tall},
      {"log_softmax", [](Ops x) { return log_softmax(x[0]); }, rows, around({2048})},
      {"logsumexp", [](Ops x) { return logsumexp(x[0]); }, rows, around({128, 2048})},
      {"layer_norm of rows", norm, weighted, around({8, 16, 4096})},
      {"layer_norm of many rows", [](Ops x) { return layer_norm(x[0], {3}); }, deep,
       around({64, 128})},
      {"layer_norm, masked",
       [](Ops x) {
         return layer_norm(x[0], {x[0].size(1)}, {}, {},
                           {.valid = greater(Tensor::of({1, 0, 1}), 0)});
       },
       rows, around({8})},
      {"batch_norm, channels last", batch(ChannelAxis::last), weighted, around({16, 512})},
      {"batch_norm of pixels", batch(ChannelAxis::second), pixels, around({16, 4096})},
      {"matmul, k", product, shapes([](int64_t n) {
         return std::vector<Shape>{{3, n}, {n, 5}};
       }),
       around({128, 256, 4096})},
      {"matmul, rows", product, shapes([](int64_t n) {
         return std::vector<Shape>{{n, 7}, {7, 5}};
       }),
       around({16, 64, 96})},
      {"matmul, columns", product, shapes([](int64_t n) {
         return std::vector<Shape>{{3, 7}, {7, n}};
       }),
       around({16, 64, 96})},
      {"linear", [](Ops x) { return linear(x[0], x[1], x[2], Activation::relu); },
       shapes([](int64_t n) {
         return std::vector<Shape>{{6, n}, {9, n}, {9}};
       }),
       vectors},
      {"attention, queries",
       [](Ops x) { return scaled_dot_product_attention(x[0], x[1], x[1], {.causal = true}); },
       shapes([](int64_t n) {
         return std::vector<Shape>{{2, n, 4}, {2, 9, 4}};
       }),
       around({32, 64})},
      {"attention, keys", [](Ops x) { return scaled_dot_product_attention(x[0], x[1], x[1]); },
       shapes([](int64_t n) {
         return std::vector<Shape>{{2, 5, 4}, {2, n, 4}};
       }),
       around({32, 64})},
      {"conv2d, width", conv, shapes([](int64_t n) {
         return std::vector<Shape>{{1, 8, 6, n}, {8, 8, 3, 3}, {8}};
       }),
       around({4, 16, 64})},
      {"conv2d, channels", conv, shapes([](int64_t n) {
         return std::vector<Shape>{{2, n, 5, 6}, {9, n, 3, 3}, {9}};
       }),
       around({8, 16, 32})},
      {"conv2d, outputs", conv, shapes([](int64_t n) {
         return std::vector<Shape>{{2, 3, 5, 6}, {n, 3, 3, 3}, {n}};
       }),
       around({8, 16, 128})},
      {"max_pool2d",
       [](Ops x) {
         return max_pool2d(x[0], {2, 2});
       },
       shapes([](int64_t n) {
         return std::vector<Shape>{{1, 2, 4, n}};
       }),
       vectors},
      {"embedding",
       [](Ops x) {
         return embedding(x[0], Tensor::of({2, 0, 2}, DType::i64));
       },
       shapes([](int64_t n) {
         return std::vector<Shape>{{3, n}};
       }),
       around({16, 5461})}};
  for (const CellKind kind : {CellKind::tanh, CellKind::relu, CellKind::lstm, CellKind::gru})
    for (const bool steps : {false, true})
      all.push_back(
          {steps ? "recurrence, steps" : "recurrence, hidden",
           [kind](Ops x) {
             const RecurrenceResult r = recurrence(kind, x[0], {}, {x[1], x[2], x[3], {}});
             return concat({flatten(r.y), flatten(r.state.h)});
           },
           shapes([=](int64_t n) {
             const int64_t h = steps ? 3 : n, g = gates_of(kind) * h;
             return std::vector<Shape>{{2, steps ? n : 3, 4}, {g, 4}, {g, h}, {g}};
           }),
           steps ? std::vector<int64_t>{0, 1, 2} : around({8, 16})});
  for (const auto algorithm :
       {ConvAlgorithm::im2col, ConvAlgorithm::direct, ConvAlgorithm::winograd})
    for (const int empty : {0, 1, 2, 3, 4})
      all.push_back(
          {"conv2d of nothing",
           [=](Ops x) {
             const bool narrow = x[0].dtype() == DType::f32;
             return conv2d(
                 x[0], x[1], {},
                 {.padding = {2, 2}, .algorithm = narrow ? algorithm : ConvAlgorithm::im2col});
           },
           shapes([=](int64_t n) {
             const auto size = [&](int k, int64_t usual) { return k == empty ? n : usual; };
             return std::vector<Shape>{{size(0, 2), size(1, 8), size(2, 6), size(3, 9)},
                                       {size(4, 8), size(1, 8), 3, 3}};
           }),
           {0, 1, 5}});
  return all;
}

}  // namespace

// Each size of each sample in turn becomes 0, 1 and 17, wherever it occurs among the inputs; but
// the samples of unbind take parts by number.
BOOST_AUTO_TEST_CASE(every_op) {
  std::map<std::string, int> walked;
  for (const OpSamples* op : all_op_samples())
    for (const OpSample& s : op->make()) {
      bool sizes[64] = {};
      for (const Tensor& x : s.inputs)
        for (int64_t size : x.shape())
          if (size < 64) sizes[size] = true;
      for (int64_t from = 1; from < 64; ++from)
        for (const int64_t to : {0, 1, 17}) {
          if (!sizes[from] || (op->name == std::string("unbind") && to < from)) continue;
          BOOST_TEST_CONTEXT(op->name << ", " << s.label << ", " << from << " to " << to)
          walked[op->name] += try_to_compare(s.f, resized(s.inputs, from, to), true);
        }
      const Tensor scalar = sample({}, 1, 0.2, 1.8);
      if (s.inputs.size() == 1) walked[op->name] += try_to_compare(s.f, {&scalar, 1}, true);
    }
  int total = 0;
  for (const auto& [name, n] : walked) total += n;
  BOOST_TEST_MESSAGE(total << " comparisons of " << walked.size() << " ops");
  BOOST_TEST(total > 400);
}

// Each size of a single input: what then does not fit is an Error.
BOOST_AUTO_TEST_CASE(inputs_that_do_not_fit) {
  int refused = 0, compared = 0;
  for (const OpSamples* op : all_op_samples())
    for (const OpSample& s : op->make())
      for (size_t i = 0; i < s.inputs.size(); ++i)
        for (int axis = 0; axis < s.inputs[i].ndim(); ++axis)
          for (const int64_t to : {0, 1, 17}) {
            std::vector<Tensor> inputs(s.inputs.begin(), s.inputs.end());
            Shape shape = inputs[i].shape();
            if (op->name == std::string("unbind") && to < shape[axis]) continue;
            shape[axis] = to;
            inputs[i] = sample(shape, 5, 0.2, 1.8);
            BOOST_TEST_CONTEXT(fmt::format("{}, {}, input {} of {}", op->name, s.label, i, shape))
            (try_to_compare(s.f, inputs, true) ? compared : refused) += 1;
          }
  BOOST_TEST_MESSAGE(refused << " refused, " << compared << " comparisons");
  BOOST_TEST(refused > 500);
}

BOOST_AUTO_TEST_CASE(sizes_that_kernels_cut) {
  int total = 0;
  for (const Cut& cut : cuts())
    for (const int64_t n : cut.sizes) BOOST_TEST_CONTEXT(cut.what << ", size " << n)
  total += try_to_compare(cut.f, cut.inputs(n), n < 300);
  BOOST_TEST_MESSAGE(total << " comparisons");
  BOOST_TEST(total > 200);
}

// Every op with no rows, no columns, a scalar, and sizes at which kernels take another way: values,
// gradients and second order in f32 against the same op in f64, whose values test_ops.cc and the
// reference tests hold.
#define BOOST_TEST_MODULE sizes
#include <gradus/gradcheck/samples.h>
#include <gradus/gradus.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>

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

const std::regex kDeclaration(R"(constexpr (?:int|int64_t|size_t) (\w+ = [^;]*);)");

/// f(path from the tree's root, text) for the sources in these folders.
template <class F>
void for_each_source(std::initializer_list<const char*> folders, F f) {
  const std::string root = GRADUS_SOURCE_DIR "/";
  for (const char* folder : folders)
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root + folder)) {
      const std::string path = entry.path().string();
      if (!path.ends_with(".cc") && !path.ends_with(".h")) continue;
      std::ifstream in(path);
      f(path.substr(root.size()), std::string(std::istreambuf_iterator<char>(in), {}));
    }
}

/// The integers that the kernels and ops are cut by, as their sources state them: "path:name" from
/// the tree's root, and the expression. One without a number above 1 states none.
const std::map<std::string, std::string>& constants() {
  static const std::map<std::string, std::string> found = [] {
    std::map<std::string, std::string> all;
    const std::regex one(R"((\w+) = ([^,]+))"), number(R"((^|[^\w])([2-9]|[1-9]\d+)\b)");
    for_each_source({"kernels", "autograd"}, [&](const std::string& path, const std::string& text) {
      for (std::sregex_iterator d(text.begin(), text.end(), kDeclaration), end; d != end; ++d) {
        const std::string names = (*d)[1];
        for (std::sregex_iterator k(names.begin(), names.end(), one); k != end; ++k)
          if (std::regex_search(k->str(2), number)) all[path + ":" + k->str(1)] = k->str(2);
      }
    });
    return all;
  }();
  return found;
}

std::set<std::string> walked_constants;

std::vector<int64_t> values(const std::string& name);

std::vector<int64_t> values(const std::string& name);

/// A number, or a few with <<, *, / between, or names of others, in the same file or threads.h.
int64_t value_of(const std::string& file, const std::string& expression) {
  std::istringstream words(std::regex_replace(expression, std::regex(R"(int64_t\{(\d+)\})"), "$1"));
  int64_t value = 0;
  std::string before, word;
  while (words >> word) {
    if (word == "<<" || word == "*" || word == "/") {
      before = word;
      continue;
    }
    const std::string here = file + ":" + word;
    const int64_t next =
        std::isdigit(static_cast<unsigned char>(word[0])) ? std::stoll(word, nullptr, 0)
        : constants().contains(here)                      ? values(here)[0]
                                     : values("kernels/runtime/threads.h:" + word)[0];
    value = before == "<<"  ? value << next
            : before == "*" ? value * next
            : before == "/" ? value / next
                            : next;
  }
  return value;
}

/// The values that a constant may have, two if its expression is a choice.
std::vector<int64_t> values(const std::string& name) {
  const auto found = constants().find(name);
  BOOST_TEST_REQUIRE((found != constants().end()), "no constant " << name);
  walked_constants.insert(name);
  const std::string &expression = found->second, file = name.substr(0, name.find(':'));
  const size_t choice = expression.find(" ? "), other = expression.find(" : ");
  if (choice == std::string::npos) return {value_of(file, expression)};
  return {value_of(file, expression.substr(choice + 3, other - choice - 3)),
          value_of(file, expression.substr(other + 3))};
}

/// Just below, at, and just above the constants of the kernels, each over what a size counts for.
std::vector<int64_t> at(std::initializer_list<const char*> names, int64_t each = 1) {
  std::vector<int64_t> all{0, 1};
  for (const char* name : names)
    for (const int64_t value : values(std::string("kernels/") + name))
      for (int64_t k : {value / each - 1, value / each, value / each + 1}) all.push_back(k);
  return all;
}

/// The same of blocks, in which four vectors of 2 to 16 lanes take turns.
std::vector<int64_t> at_blocks(const char* additions) {
  std::vector<int64_t> all{0, 1};
  for (int64_t lanes : {2, 4, 8, 16})
    for (int64_t k : {-1, 0, 1})
      all.push_back(values(std::string("kernels/") + additions)[0] * 4 * lanes + k);
  return all;
}

std::vector<Cut> cuts() {
  using Shapes = std::vector<Shape>;
  const auto rows = shapes([](int64_t n) { return Shapes{{3, n}}; });
  const auto columns = shapes([](int64_t n) { return Shapes{{5, n}}; });
  const auto deep = shapes([](int64_t n) { return Shapes{{n, 3}}; });
  const auto one_row = shapes([](int64_t n) { return Shapes{{1, n}}; });
  const auto along = [](Tensor (*f)(const Tensor&, const Axes&, bool), int64_t axis) {
    return [=](Ops x) { return f(x[0], {axis}, false); };
  };
  const auto weighted = shapes([](int64_t n) { return Shapes{{4, n}, {n}, {n}}; });
  const auto norm = [](Ops x) { return layer_norm(x[0], {x[1].size(0)}, x[1], x[2]); };
  const auto batch = [](ChannelAxis axis) {
    return [=](Ops x) { return batch_norm(x[0], x[1], x[2], {.axis = axis}).y; };
  };
  const auto pixels = shapes([](int64_t n) { return Shapes{{2, 3, n}, {3}, {3}}; });
  const auto product = [](Ops x) { return matmul(x[0], x[1]); };
  const auto conv = [](Ops x) { return conv2d(x[0], x[1], x[2], {.padding = {1, 1}}); };
  // Sizes that no constant states: whole vectors of each instruction set, a few of them, a rest.
  const std::vector<int64_t> vectors = around({4, 8, 16, 32, 64, 128});
  const Tensor few = Tensor::of({2, 0, 2}, DType::i64);
  std::vector<Cut> all{
      {"exp of vectors", [](Ops x) { return exp(x[0]); }, rows, vectors},
      {"exp over a grain", [](Ops x) { return exp(x[0]); }, one_row,
       at({"runtime/threads.h:kFunctionGrain"})},
      {"mul over a grain", [](Ops x) { return mul(x[0], x[0]); }, one_row,
       at({"runtime/threads.h:kGrain"})},
      {"pow", [](Ops x) { return pow(x[0], x[1]); }, shapes([](int64_t n) {
         return Shapes{{2, n}, {2, n}};
       }),
       at({"elementwise/elementwise.cc:kPowerBlock"})},
      {"pow of a number", [](Ops x) { return pow(x[0], 1.7); }, rows,
       at({"elementwise/elementwise.cc:kPowerBlock"})},
      {"a short row for every row", [](Ops x) { return x[0] + x[1]; }, shapes([](int64_t n) {
         return Shapes{{9, n}, {n}};
       }),
       at({"elementwise/elementwise.simd.cc:shortest"})},
      {"a short row for many rows", [](Ops x) { return x[0] + x[1]; }, shapes([](int64_t n) {
         return Shapes{{n, 4}, {4}};
       }),
       at({"elementwise/elementwise.simd.cc:fewest", "elementwise/elementwise.simd.cc:longest"})},
      {"copy of a transpose", [](Ops x) { return contiguous(transpose(x[0])) * x[1]; },
       shapes([](int64_t n) {
         return Shapes{{n, 70}, {70, n}};
       }),
       at({"elementwise/copy.cc:kTile"})},
      {"sum of rows", along(sum, 1), rows,
       at({"runtime/long_sum.h:kSumTerms", "reduce/reduce.simd.cc:kBlockElements"})},
      {"sum of a long row", along(sum, 1), one_row, at({"reduce/reduce.cc:kPiece"})},
      {"sum of columns", along(sum, 0), columns,
       at({"reduce/reduce.cc:kTile", "reduce/reduce.simd.cc:kTileColumns"})},
      {"sum of tall columns", along(sum, 0), deep,
       at({"reduce/table.h:kSumRows", "reduce/reduce.cc:kTile"})},
      {"sum of short rows", along(sum, 0), shapes([](int64_t n) { return Shapes{{70, n}}; }),
       at({"reduce/reduce.simd.cc:shortest"})},
      {"sum of short rows that are read as long ones", along(sum, 0), shapes([](int64_t n) {
         return Shapes{{n, 4}};
       }),
       at({"reduce/reduce.simd.cc:kTileColumns"})},
      {"sum of tall tiles", along(sum, 0), shapes([](int64_t n) { return Shapes{{n, 512}}; }),
       at({"reduce/reduce.cc:kShortestPiece"})},
      {"sum of very tall columns", along(sum, 0), deep, at({"reduce/reduce.cc:kPiece"}, 3)},
      {"mean of all", [](Ops x) { return mean(x[0]); }, rows, at({"reduce/reduce.cc:kPiece"}, 3)},
      {"var of a long row", [](Ops x) { return var(x[0], {1}); }, one_row,
       at({"reduce/reduce.simd.cc:kBlockElements", "reduce/reduce.cc:kPiece"})},
      {"max of rows", along(max, 1), rows, vectors},
      {"max of a long row", along(max, 1), one_row, at({"reduce/reduce.cc:kPiece"})},
      {"min of a long row", along(min, 1), one_row, at({"reduce/reduce.cc:kPiece"})},
      {"max of columns", along(max, 0), columns, at({"reduce/reduce.cc:kTile"})},
      {"cumsum of columns", [](Ops x) { return cumsum(x[0], 0); }, columns,
       at({"reduce/scan.cc:kColumns"})},
      {"sort of growing numbers", [](Ops x) { return sort(cumsum(x[0], 1), 1, true).values; },
       one_row, at({"index/order.cc:kFewestForRadix"})},
      {"topk of growing numbers", [](Ops x) { return topk(cumsum(x[0], 1), 1).values; }, one_row,
       at({"index/order.cc:kFewOf"})},
      {"softmax of rows", [](Ops x) { return softmax(x[0]); }, rows,
       at({"softmax/softmax.simd.cc:kBlockElements", "softmax/softmax.simd.cc:kBlockRows"})},
      {"softmax of many rows", [](Ops x) { return softmax(x[0]); }, deep,
       at({"softmax/softmax.simd.cc:kBlockRows"})},
      {"log_softmax", [](Ops x) { return log_softmax(x[0]); }, rows,
       at({"softmax/softmax.simd.cc:kBlockElements", "softmax/softmax.simd.cc:stretch"})},
      {"logsumexp", [](Ops x) { return logsumexp(x[0]); }, rows,
       at({"softmax/softmax.simd.cc:kBlockElements", "softmax/softmax.simd.cc:kBlockRows"})},
      {"cross_entropy, classes",
       [](Ops x) {
         return cross_entropy(x[0], Tensor::of({0, 0, 0}, DType::i64));
       },
       rows, at({"softmax/softmax.simd.cc:kBlockElements"})},
      {"cross_entropy, rows",
       [](Ops x) { return cross_entropy(x[0], zeros({x[0].size(0)}, DType::i64)); }, deep,
       at({"softmax/softmax.simd.cc:kBlockRows"})},
      {"cross_entropy over a grain",
       [](Ops x) { return cross_entropy(x[0], zeros({x[0].size(0)}, DType::i64)); }, deep,
       at({"runtime/threads.h:kFunctionGrain"}, 3)},
      {"mse_loss", [](Ops x) { return mse_loss(x[0], square(x[0])); }, one_row,
       at({"reduce/reduce.simd.cc:kBlockElements", "reduce/reduce.cc:kPiece"})},
      {"layer_norm of rows", norm, weighted, at_blocks("norm/runs.simd.cc:kAdditions")},
      {"layer_norm of short rows", norm, weighted,
       at({"norm/runs.simd.cc:kGlance", "norm/in_double.h:kFewValues"})},
      {"layer_norm of vectors", norm, weighted, vectors},
      {"layer_norm of few rows", [](Ops x) { return layer_norm(x[0], {37}, x[1], x[2]); },
       shapes([](int64_t n) {
         return Shapes{{n, 37}, {37}, {37}};
       }),
       at({"norm/runs.simd.cc:together"})},
      // A grain is 32 rows; with a row more than fill the pieces, pieces are longer.
      {"layer_norm, pieces", [](Ops x) { return layer_norm(x[0], {1024}, x[1], x[2]); },
       shapes([](int64_t n) {
         return Shapes{{n, 1024}, {1024}, {1024}};
       }),
       {32 * values("kernels/norm/norm.cc:most_pieces")[0] + 1}},
      {"layer_norm of long rows", [](Ops x) { return layer_norm(x[0], {40000}, x[1], x[2]); },
       shapes([](int64_t n) {
         return Shapes{{n, 40000}, {40000}, {40000}};
       }),
       at({"norm/norm.cc:fewest_samples"})},
      {"layer_norm of many rows", [](Ops x) { return layer_norm(x[0], {3}); }, deep,
       at({"norm/runs.simd.cc:kBlockRows"})},
      {"layer_norm, masked",
       [](Ops x) {
         return layer_norm(x[0], {x[0].size(1)}, {}, {},
                           {.valid = greater(Tensor::of({1, 0, 1}), 0)});
       },
       rows, vectors},
      {"rms_norm of rows",
       [](Ops x) { return rms_norm(x[0], {x[1].size(0)}, x[1], {.eps = 1e-5}); },
       shapes([](int64_t n) {
         return Shapes{{4, n}, {n}};
       }),
       at_blocks("norm/runs.simd.cc:kAdditions")},
      {"rms_norm of many rows", [](Ops x) { return rms_norm(x[0], {3}, x[1], {.eps = 1e-5}); },
       shapes([](int64_t n) {
         return Shapes{{n, 3}, {3}};
       }),
       at({"norm/runs.simd.cc:kBlockRows"})},
      {"rms_norm over a grain", [](Ops x) { return rms_norm(x[0], {3}, x[1], {.eps = 1e-5}); },
       shapes([](int64_t n) {
         return Shapes{{n, 3}, {3}};
       }),
       at({"runtime/threads.h:kGrain"}, 3)},
      {"group_norm, pixels", [](Ops x) { return group_norm(x[0], 2, x[1], x[2]); },
       shapes([](int64_t n) {
         return Shapes{{2, 4, n}, {4}, {4}};
       }),
       at_blocks("norm/runs.simd.cc:kAdditions")},
      {"group_norm, channels", [](Ops x) { return group_norm(x[0], 1, x[1], x[2]); },
       shapes([](int64_t n) {
         return Shapes{{3, n, 2}, {n}, {n}};
       }),
       vectors},
      {"group_norm, samples", [](Ops x) { return group_norm(x[0], 2, x[1], x[2]); },
       shapes([](int64_t n) {
         return Shapes{{n, 4, 2}, {4}, {4}};
       }),
       at({"norm/norm.cc:few", "norm/runs.simd.cc:kBlockRows"})},
      {"batch_norm, channels", batch(ChannelAxis::last), weighted,
       at({"norm/columns.simd.cc:kTileColumns"})},
      {"batch_norm, few channels", batch(ChannelAxis::last), weighted, vectors},
      {"batch_norm, a block of channels", batch(ChannelAxis::last), weighted,
       at({"norm/norm.cc:kColumnsOfBlock"})},
      {"batch_norm, few rows", batch(ChannelAxis::last), shapes([](int64_t n) {
         return Shapes{{n, 3}, {3}, {3}};
       }),
       at({"norm/in_double.h:kFewValues"})},
      {"batch_norm, rows", batch(ChannelAxis::last), shapes([](int64_t n) {
         return Shapes{{n, 3}, {3}, {3}};
       }),
       at({"norm/columns.simd.cc:kBlockRows", "norm/columns.simd.cc:kAdditions"})},
      {"batch_norm, rows of vectors", batch(ChannelAxis::last), shapes([](int64_t n) {
         return Shapes{{n, 64}, {64}, {64}};
       }),
       at({"norm/columns.simd.cc:kAdditions"})},
      {"batch_norm, tiles", batch(ChannelAxis::last), shapes([](int64_t n) {
         return Shapes{{n, 512}, {512}, {512}};
       }),
       at({"norm/columns.simd.cc:kTileElements"}, 512)},
      {"batch_norm, pieces of many channels", batch(ChannelAxis::last), shapes([](int64_t n) {
         return Shapes{{n, 1024}, {1024}, {1024}};
       }),
       at({"norm/norm.cc:fewest"})},
      {"batch_norm, pieces", batch(ChannelAxis::last), shapes([](int64_t n) {
         return Shapes{{n, 3}, {3}, {3}};
       }),
       at({"norm/norm.cc:kPiece"}, 3)},
      {"batch_norm of pixels", batch(ChannelAxis::second), pixels,
       at({"norm/norm.cc:kPiece"})},
      {"batch_norm of blocks", batch(ChannelAxis::second), pixels,
       at_blocks("norm/runs.simd.cc:kAdditions")},
      {"batch_norm of small maps", batch(ChannelAxis::second), shapes([](int64_t n) {
         return Shapes{{n, 2, 3}, {2}, {2}};
       }),
       at({"norm/runs.simd.cc:kAdditions"})},
      {"batch_norm_inference",
       [](Ops x) {
         const Tensor one = ones({x[1].size(0)}, x[0].dtype());
         return batch_norm_inference(x[0], one, one, x[1], x[2]);
       },
       pixels, at_blocks("norm/runs.simd.cc:kAdditions")},
      {"matmul, k", product, shapes([](int64_t n) {
         return Shapes{{3, n}, {n, 5}};
       }),
       at({"gemm/gemm.simd.cc:kShortBlockK", "gemm/gemm.simd.cc:kBlockK",
           "gemm/gemm.cc:kPieceOfK"})},
      {"matmul, pieces of k", product, shapes([](int64_t n) {
         return Shapes{{16, 2 * n}, {2 * n, 16}};
       }),
       at({"gemm/gemm.cc:kPieceOfK"})},
      {"matmul, rows", product, shapes([](int64_t n) {
         return Shapes{{n, 7}, {7, 5}};
       }),
       at({"gemm/gemm.simd.cc:kMaxRows", "gemm/gemm.cc:kThinRows", "gemm/gemm.cc:kManyRows"})},
      {"matmul, columns", product, shapes([](int64_t n) {
         return Shapes{{3, 7}, {7, n}};
       }),
       vectors},
      {"matmul over a grain", product, shapes([](int64_t n) {
         return Shapes{{n, 64}, {64, 64}};
       }),
       at({"runtime/threads.h:kProductGrain"}, 64 * 64)},
      {"matmul over two grains", product, shapes([](int64_t n) {
         return Shapes{{n, 64}, {64, 128}};
       }),
       at({"runtime/threads.h:kProductGrain"}, 64 * 64)},
      {"matmul, rows of tiles", product, shapes([](int64_t n) {
         return Shapes{{n, 1024}, {1024, 32}};
       }),
       at({"gemm/gemm.cc:kTileRows"})},
      {"matmul, columns of tiles", product, shapes([](int64_t n) {
         return Shapes{{16, 1024}, {1024, n}};
       }),
       at({"gemm/gemm.cc:kTileColumns"})},
      {"matmul, batches", product, shapes([](int64_t n) {
         return Shapes{{n, 64, 128}, {n, 128, 64}};
       }),
       at({"gemm/gemm.cc:kMaxTiles"})},
      {"matmul, A copied", [](Ops x) { return matmul(x[0], x[1], true); }, shapes([](int64_t n) {
         return Shapes{{256, n}, {256, n}};
       }),
       at({"gemm/gemm.cc:kCopiedColumns", "gemm/gemm.cc:kCopiedTile"})},
      {"matmul, A copied or not", [](Ops x) { return matmul(x[0], x[1], true); },
       shapes([](int64_t n) {
         return Shapes{{n, 64}, {n, 64}};
       }),
       at({"gemm/gemm.cc:kCopied"}, 64 * 64)},
      {"linear", [](Ops x) { return linear(x[0], x[1], x[2], Activation::relu); },
       shapes([](int64_t n) {
         return Shapes{{6, n}, {9, n}, {9}};
       }),
       vectors},
      {"linear of one row", [](Ops x) { return linear(x[0], x[1], x[2]); }, shapes([](int64_t n) {
         return Shapes{{1, n}, {9, n}, {9}};
       }),
       at({"gemm/gemm.cc:kShortestDot", "gemm/gemm.cc:kLongestDot"})},
      {"linear of one row, outputs", [](Ops x) { return linear(x[0], x[1]); },
       shapes([](int64_t n) {
         return Shapes{{1, 70}, {n, 70}};
       }),
       at({"gemm/gemm.simd.cc:kDotsTogether"})},
      {"linear of few rows", [](Ops x) { return linear(x[0], x[1]); }, shapes([](int64_t n) {
         return Shapes{{n, 512}, {512, 512}};
       }),
       at({"gemm/gemm.cc:kThin"}, 512 * 512)},
      {"attention, queries",
       [](Ops x) { return scaled_dot_product_attention(x[0], x[1], x[1], {.causal = true}); },
       shapes([](int64_t n) {
         return Shapes{{2, n, 4}, {2, 9, 4}};
       }),
       at({"attention/attention.cc:kQueries"})},
      {"attention, keys", [](Ops x) { return scaled_dot_product_attention(x[0], x[1], x[1]); },
       shapes([](int64_t n) {
         return Shapes{{2, 5, 4}, {2, n, 4}};
       }),
       at({"attention/attention.cc:kQueries"})},
      {"attention over a grain",
       [](Ops x) { return scaled_dot_product_attention(x[0], x[1], x[1]); }, shapes([](int64_t n) {
         return Shapes{{n, 32, 32}, {n, 32, 32}};
       }),
       at({"runtime/threads.h:kProductGrain"}, 2 * 32 * 32 * 32)},
      {"conv2d, width", conv, shapes([](int64_t n) {
         return Shapes{{1, 8, 6, n}, {8, 8, 3, 3}, {8}};
       }),
       vectors},
      {"conv2d, tiles", conv, shapes([](int64_t n) {
         return Shapes{{1, 8, 4, 4 * n}, {8, 8, 3, 3}, {8}};
       }),
       at({"conv/conv.cc:kWinogradTiles", "conv/table.h:kMaxRun", "conv/winograd.cc:kBlockTiles"})},
      {"conv2d, channels", conv, shapes([](int64_t n) {
         return Shapes{{2, n, 5, 6}, {9, n, 3, 3}, {9}};
       }),
       at({"conv/conv.cc:kWinogradChannels", "conv/table.h:kChannels", "conv/winograd.cc:kShortSum",
           "conv/winograd.cc:kLongSum"})},
      {"conv2d, taps", conv, shapes([](int64_t n) {
         return Shapes{{1, n, 4, 4}, {3, n, 3, 3}, {3}};
       }),
       at({"conv/conv.cc:kDirectTaps"}, 9)},
      {"conv2d, outputs", conv, shapes([](int64_t n) {
         return Shapes{{2, 3, 5, 6}, {n, 3, 3, 3}, {n}};
       }),
       at({"conv/direct.simd.cc:kGradientOuts", "conv/conv.cc:kWinogradChannels",
           "conv/conv.cc:kDirectOutputs"})},
      {"conv2d, weights", conv, shapes([](int64_t n) {
         return Shapes{{1, 128, 5, 6}, {n, 128, 3, 3}, {n}};
       }),
       at({"conv/conv.cc:kWinogradWeights"}, 128)},
      {"conv2d, batch", conv, shapes([](int64_t n) {
         return Shapes{{n, 8, 5, 6}, {8, 8, 3, 3}, {8}};
       }),
       at({"conv/paths.h:kPieces"})},
      {"conv2d, pieces", conv, shapes([](int64_t n) {  // 16 tiles an image
         return Shapes{{n, 8, 16, 16}, {8, 8, 3, 3}, {8}};
       }),
       at({"conv/winograd.cc:kBlockTiles"}, 16 / values("kernels/conv/winograd.cc:most_pieces")[0])},
      {"conv2d, few taps", [](Ops x) { return conv2d(x[0], x[1]); }, shapes([](int64_t n) {
         return Shapes{{1, n, 5, 6}, {4, n, 1, 1}};
       }),
       at({"conv/direct.simd.cc:kGradientTaps"})},
      {"conv2d of a large image",
       [](Ops x) {
         const auto direct =
             x[0].dtype() == DType::f32 ? ConvAlgorithm::direct : ConvAlgorithm::im2col;
         return conv2d(x[0], x[1], {}, {.algorithm = direct});
       },
       shapes([](int64_t n) {
         return Shapes{{1, 2, 1024, n}, {3, 2, 1, 1}};
       }),
       {4, 5, 8, 9, 16, 17}},
      {"max_pool2d",
       [](Ops x) {
         return max_pool2d(x[0], {2, 2});
       },
       shapes([](int64_t n) {
         return Shapes{{1, 2, 4, n}};
       }),
       vectors},
      {"avg_pool2d",
       [](Ops x) {
         return avg_pool2d(x[0], {2, 2});
       },
       shapes([](int64_t n) {
         return Shapes{{1, 2, 4, n}};
       }),
       vectors},
      {"adaptive_avg_pool2d", [](Ops x) { return adaptive_avg_pool2d(x[0], {2, 3}); },
       shapes([](int64_t n) {
         return Shapes{{1, 2, 4, n}};
       }),
       vectors},
      {"poolings over a grain",
       [](Ops x) { return max_pool2d(x[0], {2, 2}) + avg_pool2d(x[0], {2, 2}); },
       shapes([](int64_t n) {
         return Shapes{{n, 2, 16, 16}};
       }),
       at({"runtime/threads.h:kGrain"}, 2 * 16 * 16)},
      {"average of a large window", [](Ops x) { return avg_pool2d(x[0], {4, x[0].size(3)}); },
       shapes([](int64_t n) {
         return Shapes{{1, 2, 4, n}};
       }),
       at({"reduce/reduce.simd.cc:kBlockElements"}, 4)},
      {"average of windows narrower than the image",
       [](Ops x) { return avg_pool2d(x[0], {2, x[0].size(3) - 1}, {.stride = Pair{1, 1}}); },
       shapes([](int64_t n) {
         return Shapes{{1, 2, 3, n + 1}};
       }),
       at({"pooling/pooling.cc:kTileColumns"})},
      {"average of windows of few or many elements",
       [](Ops x) { return avg_pool2d(x[0], {2, x[0].size(3) - 1}); }, shapes([](int64_t n) {
         return Shapes{{1, 2, 3, n + 1}};
       }),
       at({"pooling/pooling.cc:kFewTerms"}, 2)},
      {"embedding", [=](Ops x) { return embedding(x[0], few); }, columns,
       at({"index/index.cc:kIndexGrain"}, 3)},
      {"embedding of many", [](Ops x) { return embedding(x[0], zeros({1024}, DType::i64)); },
       columns, at({"index/index.cc:kIndexGrain"}, 1024)},
      {"index_select", [=](Ops x) { return index_select(x[0], 1, few); }, shapes([](int64_t n) {
         return Shapes{{n, 4, 4}};
       }),
       at({"index/index.cc:kIndexGrain"}, 16)},
      {"index_add", [=](Ops x) { return index_add(x[0], 1, few, x[1]); }, shapes([](int64_t n) {
         return Shapes{{n, 4, 4}, {n, 3, 4}};
       }),
       at({"index/index.cc:kIndexGrain"}, 16)},
      {"index_add of many",
       [](Ops x) { return index_add(x[0], 0, zeros({1024}, DType::i64), x[1]); },
       shapes([](int64_t n) {
         return Shapes{{4, n}, {1024, n}};
       }),
       at({"index/index.cc:kFewestColumns"})},
      {"gather", [](Ops x) { return gather(x[0], 1, zeros(x[0].shape(), DType::i64)); },
       shapes([](int64_t n) {
         return Shapes{{n, 4, 4}};
       }),
       at({"index/index.cc:kIndexGrain"}, 16)},
      {"scatter_add",
       [](Ops x) { return scatter_add(x[0], 1, zeros(x[1].shape(), DType::i64), x[1]); },
       shapes([](int64_t n) {
         return Shapes{{n, 4, 4}, {n, 3, 4}};
       }),
       at({"index/index.cc:kIndexGrain"}, 16)}};
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
             return Shapes{{2, steps ? n : 3, 4}, {g, 4}, {g, h}, {g}};
           }),
           steps ? std::vector<int64_t>{0, 1, 2} : around({8, 16})});
  all.push_back({"recurrence, sequences",
                 [](Ops x) {
                   return recurrence(CellKind::tanh, x[0], {}, {x[1], x[2], x[3], {}}).state.h;
                 },
                 shapes([](int64_t n) {
                   return Shapes{{n, 2, 64}, {64, 64}, {64, 64}, {64}};
                 }),
                 at({"rnn/rnn.cc:rows"})});
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
             return Shapes{{size(0, 2), size(1, 8), size(2, 6), size(3, 9)},
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

// A constant that no row above walks is a size at which a kernel takes another way, and that nobody
// tries.
BOOST_AUTO_TEST_CASE(every_constant_that_cuts) {
  cuts();
  const std::map<std::string, const char*> others{
      {"kernels/runtime/threads.cc:kMaxThreads", "of threads"},
      {"kernels/runtime/threads.cc:kSmallNs", "nanoseconds"},
      {"kernels/runtime/loops.h:kMaxLoops", "dimensions"},
      {"kernels/elementwise/elementwise.h:kLargestIntegerPower", "an exponent"},
      {"kernels/index/order.cc:kDigitBits", "bits"},
      {"kernels/reduce/reduce.simd.cc:kAccumulators", "vectors; see `vectors`"},
      {"kernels/reduce/reduce.simd.cc:parts", "vectors; see `vectors`"},
      {"kernels/softmax/softmax.simd.cc:parts", "lanes; see `vectors`"},
      {"kernels/norm/norm.cc:most_values", "columns copied together, each computed by itself"},
      {"kernels/gemm/gemm.simd.cc:line", "bytes of a cache's line"},
      {"kernels/gemm/gemm.cc:kRowsTogether", "rows of tiles, whose sums they do not change"},
      {"kernels/gemm/gemm.cc:kColumnsTogether", "columns likewise"},
      {"kernels/runtime/streamed.h:kStreamedBytes", "4 MB: tests/kernels/test_norm.cc"},
      {"kernels/gemm/gemm.cc:kLarge", "2^31 products, OpenBLAS's: tests/kernels/test_gemm.cc"},
      {"kernels/gemm/gemm.cc:kSmallC", "2^29 products; beyond, k is whole as below kPieceOfK"},
      {"kernels/conv/direct.simd.cc:kGradientPixels", "1024 vectors, see conv2d of a large image"},
      {"kernels/conv/winograd.cc:kMost", "hostile tiles: tests/kernels/test_conv.cc"},
      {"kernels/conv/winograd.cc:kWeightGrain", "a grain"},
      {"kernels/conv/winograd.cc:kGradientGrain", "a grain"},
      {"kernels/conv/definition.cc:kWeights", "a grain"},
      {"kernels/conv/definition.cc:kBlock", "hostile images: tests/kernels/test_conv.cc"},
      {"kernels/conv/winograd.simd.cc:kMaxColumns", "of kMaxRun"},
      {"kernels/conv/winograd.simd.cc:kExponent", "bits"},
      {"kernels/conv/table.h:kSeenPixels", "of kMaxRun"},
      {"autograd/detail/tape_buffers.h:kChunk", "nodes of a tape"},
      {"autograd/tape.cc:kLargestSpare", "nodes of a tape"},
      {"autograd/ops/shape.cc:kMostParts", "beyond it an error: tests/autograd/test_extremes.cc"},
  };
  BOOST_TEST(walked_constants.size() > 35);
  for (const auto& [name, expression] : constants())
    if (!name.starts_with("kernels/vector/"))  // lanes and registers
      BOOST_TEST((walked_constants.contains(name) != others.contains(name)),
                 name << " = " << expression << " is walked by no row, or by one and excused");
  for (const auto& [name, reason] : others)
    BOOST_TEST(constants().contains(name), name << " is excused and not there");
}

// A number that has no name is one that the test above does not see.
BOOST_AUTO_TEST_CASE(every_number_has_a_name) {
  const std::set<std::string> others{
      "kernels/conv/winograd.cc:36",       // points of a tile
      "kernels/conv/winograd.cc:16",       // channels added up, see kMost
      "kernels/conv/winograd.cc:32",       // likewise
      "kernels/conv/winograd.cc:64",       // likewise
      "kernels/conv/winograd.simd.cc:16",  // vectors, of which no result depends; pixels of a tile
      "kernels/elementwise/functors.h:32", "kernels/gemm/blas.cc:32",  // letters' case
      "kernels/gemm/gemm.cc:101",          "kernels/gemm/gemm.cc:111",
      "kernels/gemm/gemm.cc:112",       // BLAS
      "kernels/norm/runs.simd.cc:64",   // bytes of a cache's line
      "kernels/norm/in_double.h:20",    // bits
      "kernels/runtime/threads.cc:32",  // waits
      "kernels/runtime/windows.h:31",   // bits; an error beyond
      "kernels/runtime/workspace.cc:64",   "kernels/runtime/workspace.cc:128",  // bytes
      "kernels/softmax/softmax.h:100"};                                         // a label
  const std::regex comments(R"(//[^\n]*|#[^\n]*|"(\\.|[^"\\])*")"), constant("constexpr [^;]*;"),
      layout(R"((alignas|aligned|vector_size)\(\d+\)|__builtin_shufflevector\([^;]*\))"),
      number(R"((^|[^\w.'])(\d\d+)(?![\w.']))");
  std::set<std::string> found;
  for_each_source({"kernels"}, [&](const std::string& path, std::string text) {
    if (path.starts_with("kernels/vector/") || path.ends_with("runtime/cpu.cc")) return;
    for (const std::regex& without : {comments, constant, layout})
      text = std::regex_replace(text, without, "");
    for (std::sregex_iterator k(text.begin(), text.end(), number), end; k != end; ++k)
      found.insert(path + ":" + k->str(2));
  });
  for (const std::string& number_at : found)
    BOOST_TEST(others.contains(number_at), number_at << " is no constexpr with a name");
  for (const std::string& number_at : others)
    BOOST_TEST(found.contains(number_at), number_at << " is excused and not there");
}

#define BOOST_TEST_MODULE extremes
#include <gradus/base/memory.h>
#include <gradus/gradus.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <limits>

#include "tests/checks.h"

// Every public function that takes a number or a shape, called with those at the ends of their
// ranges. Each call gives a result or an Error, soon. What overflows or reads beside memory on the
// way the sanitizers see; a request for more memory than there is is refused, to them as elsewhere.
using namespace gradus;

#ifdef GRADUS_SANITIZED
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#endif

namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min(),
                  kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kIntegers[] = {kMin,
                                 kMin + 1,
                                 -kMax / 2,
                                 -(int64_t{1} << 32) - 1,
                                 -(1LL << 31),
                                 -4,
                                 -1,
                                 0,
                                 1,
                                 2,
                                 3,
                                 int64_t{1} << 40,
                                 kMax / 8,
                                 kMax / 3,
                                 kMax / 2,
                                 kMax / 2 + 1,
                                 kMax - 1,
                                 kMax};
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kDoubles[] = {-kInf,
                               -1.7e308,
                               -1e300,
                               -3.5e38,
                               -1e19,
                               -1,
                               -5e-324,
                               -0.0,
                               0,
                               5e-324,
                               1e-300,
                               0.5,
                               1,
                               1e19,
                               3.5e38,
                               1e300,
                               1.7e308,
                               kInf,
                               std::numeric_limits<double>::quiet_NaN()};
constexpr int64_t kHuge = int64_t{1} << 40;
const Shape kShapes[] = {{kHuge, 0},
                         {0, kHuge},
                         {kHuge, 0, 3},
                         {0, kHuge, 3},
                         {3, 0, kHuge},
                         {2, 3, kHuge, 0},
                         {0, 3, kHuge, 1},
                         {kHuge, 0, 3, 3},
                         {0, 1, 1 << 20, 1 << 20},
                         {1, 0, 2, kHuge},
                         {1 << 16, 0, 1 << 16, 1}};

template <class Argument>
struct Row {
  const char* what;
  std::function<void(Argument)> f;
};

/// A caller gets a result or an Error, and never waits: CTest's timeout is over long before a walk
/// along 2^40 elements.
template <class Argument, class Arguments>
void call(const std::vector<Row<Argument>>& rows, const Arguments& arguments) {
  for (const Row<Argument>& row : rows)
    for (const Argument& argument : arguments) {
      BOOST_TEST_CHECKPOINT(row.what << '(' << fmt::format("{}", argument) << ')');
      try {
        row.f(argument);
      } catch (const Error& error) {
        BOOST_TEST(std::string(error.what()).size() > 10, row.what);
      } catch (const std::exception& error) {
        BOOST_TEST(false, fmt::format("{}({}): {}", row.what, argument, error.what()));
      }
    }
}

/// What an op gave is one: its gradient exists, too.
void sound(const Tensor& y) {
  BOOST_REQUIRE(y.numel() == y.shape().numel());
  for (const int64_t size : y.shape()) BOOST_REQUIRE(size >= 0);
  BOOST_TEST(!fmt::format("{}", y).empty());
}
void sound(const Tensor& x, const std::function<Tensor(const Tensor&)>& f) {
  Tensor leaf = raw::clone(x);
  if (!is_floating(x.dtype())) return sound(f(leaf));
  leaf.set_requires_grad();
  Tape tape;
  const Tensor y = f(leaf);
  sound(y);
  if (!needs_grad(y)) return;
  const Tensor dx = tape.gradient(y, leaf, {.create_graph = CreateGraph::yes, .dy = ones_like(y)});
  sound(dx);
  if (needs_grad(dx)) tape.gradient(dx, leaf, {.dy = ones_like(dx), .allow_unused = true});
}

Tensor first_of(const TensorList& parts, const Tensor& x) { return parts.empty() ? x : parts[0]; }

int as_int(int64_t n) {
  return static_cast<int>(
      std::clamp<int64_t>(n, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
}

const Tensor x23 = ones({2, 3}), image = ones({2, 2, 5, 4}), kernel = ones({2, 2, 3, 3}),
             labels = Tensor::of({0, 1}, DType::i64);

struct Limits {
  Limits() {
#ifndef GRADUS_SANITIZED  // they reserve more than that
    const rlimit limit{rlim_t{1} << 35, rlim_t{1} << 35};
    setrlimit(RLIMIT_AS, &limit);
#endif
  }
};
BOOST_TEST_GLOBAL_FIXTURE(Limits);

Dataset five() { return {"five", ones({5, 1, 2, 2}), arange(5), 5}; }

}  // namespace

BOOST_AUTO_TEST_CASE(integers_of_tensors) {
  call<int64_t>({{"Shape[]",
                  [](int64_t n) {
                    Shape{3, 4}[n];
                  }},
                 {"a scalar's Shape[]", [](int64_t n) { Shape{}[n]; }},
                 {"Shape.push_back", [](int64_t n) { Shape{3}.push_back(n); }},
                 {"str",
                  [](int64_t n) {
                    str(Shape{n, n});
                  }},
                 {"describe_entries",
                  [](int64_t n) {
                    describe_entries({3, 4}, std::array{n});
                  }},
                 {"sample",
                  [](int64_t n) {
                    sample({n, 2}, static_cast<uint64_t>(n));
                  }},
                 {"Shape.numel",
                  [](int64_t n) {
                    Shape{n, n, 3}.numel();
                  }},
                 {"Shape.numel of none",
                  [](int64_t n) {
                    Shape{n, n, 0}.numel();
                  }},
                 {"Shape.inserted", [](int64_t n) { Shape{3}.inserted(as_int(n), n); }},
                 {"Shape.erased", [](int64_t n) { Shape{3}.erased(as_int(n)); }},
                 {"normalize_axis", [](int64_t n) { normalize_axis("f", n, 3); }},
                 {"axis_flags",
                  [](int64_t n) {
                    axis_flags("f", {n, 1}, 3);
                  }},
                 {"unravel",
                  [](int64_t n) {
                    unravel(n, {3, 4});
                  }},
                 {"unravel of none",
                  [](int64_t n) {
                    unravel(n, {3, 0});
                  }},
                 {"broadcast_shapes",
                  [](int64_t n) {
                    broadcast_shapes("f", {n, 1}, {1, n});
                  }},
                 {"resolve_shape",
                  [](int64_t n) {
                    resolve_shape("f", {3, 4}, {n, -1, n});
                  }},
                 {"empty",
                  [](int64_t n) {
                    sound(empty({n, 0, n}));
                  }},
                 {"zeros",
                  [](int64_t n) {
                    zeros({n, n});
                  }},
                 {"full",
                  [](int64_t n) {
                    full({n, n}, 1);
                  }},
                 {"arange", [](int64_t n) { arange(n); }},
                 {"eye", [](int64_t n) { eye(n); }},
                 {"Tensor::from", [](int64_t n) { Tensor::from(std::vector<int>{1}, {n}); }},
                 {"size", [](int64_t n) { x23.size(n); }},
                 {"at",
                  [](int64_t n) {
                    x23.at({n, n});
                  }},
                 {"as_strided's shape",
                  [](int64_t n) {
                    const int64_t strides[] = {0, 1};
                    sound(as_strided(x23, {n, 2}, strides, 0));
                  }},
                 {"as_strided's strides",
                  [](int64_t n) {
                    const int64_t strides[] = {n, n};
                    sound(as_strided(x23, {2, 2}, strides, 0));
                  }},
                 {"as_strided's offset",
                  [](int64_t n) {
                    const int64_t strides[] = {1};
                    sound(as_strided(x23, {1}, strides, n));
                    sound(as_strided(x23, {0}, strides, n));
                  }},
                 {"as_strided, too few strides",
                  [](int64_t n) {
                    as_strided(x23, {n, n}, {}, n);
                  }},
                 {"raw::reshape",
                  [](int64_t n) {
                    sound(raw::reshape(x23, {n, -1}));
                  }},
                 {"raw::expand",
                  [](int64_t n) {
                    sound(raw::expand(x23, {n, 2, 3}));
                  }},
                 {"rand",
                  [](int64_t n) {
                    rand({n, 2});
                  }},
                 {"randn",
                  [](int64_t n) {
                    randn({n, 2});
                  }},
                 {"uniform",
                  [](int64_t n) {
                    uniform({n, 2}, 0, 1);
                  }},
                 {"bernoulli",
                  [](int64_t n) {
                    bernoulli({n, 2}, 0.5);
                  }},
                 {"randint",
                  [](int64_t n) {
                    sound(randint(n, kMax, {3}));
                    sound(randint(kMin, n, {3}));
                  }},
                 {"randperm", [](int64_t n) { randperm(n); }},
                 {"Generator",
                  [](int64_t n) {
                    const auto u = static_cast<uint64_t>(n);
                    Generator generator(Generator::State{u, u, u});
                    for (int i = 0; i < 9; ++i) generator.uint64();
                    generator.normal();
                    generator.below(u);
                  }},
                 {"manual_seed", [](int64_t n) { manual_seed(static_cast<uint64_t>(n)); }},
                 {"set_threads",
                  [](int64_t n) {
                    const int before = threads();
                    set_threads(as_int(n));
                    set_threads(before);
                  }},
                 {"printed digits",
                  [](int64_t n) {
                    (void)fmt::format(
                        fmt::runtime(fmt::format("{{:.{}}}", static_cast<uint64_t>(n))), x23);
                  }}},
                kIntegers);
  const size_t most = std::numeric_limits<size_t>::max();
  for (const size_t bytes : {most, most - 1, most / 2, most - 63})
    BOOST_CHECK_THROW(gradus::allocate(bytes), std::bad_alloc);
  BOOST_CHECK_THROW(FreeListAllocator<double>().allocate(most / 4), std::bad_alloc);
}

BOOST_AUTO_TEST_CASE(integers_of_ops) {
  call<int64_t>(
      {{"reshape",
        [](int64_t n) {
          sound(reshape(x23, {n, 2, -1}));
        }},
       {"reshape of nothing",
        [](int64_t n) {
          sound(reshape(ones({0}), {n, n, 0}));
        }},
       {"flatten",
        [](int64_t n) {
          sound(flatten(image, n, -1));
          sound(flatten(image, 0, n));
        }},
       {"transpose",
        [](int64_t n) {
          sound(transpose(image, n, 1));
          sound(transpose(image, 1, n));
        }},
       {"permute",
        [](int64_t n) {
          sound(permute(x23, {n, 0}));
        }},
       {"unsqueeze", [](int64_t n) { sound(unsqueeze(x23, n)); }},
       {"squeeze",
        [](int64_t n) {
          sound(squeeze(ones({1, 2, 1}), n));
        }},
       {"expand",
        [](int64_t n) {
          sound(expand(ones({1, 3}), {n, 3}));
        }},
       {"expand, printed",
        [](int64_t n) {
          sound(expand(ones({1, 1}), {n, n}));
        }},
       {"slice's axis", [](int64_t n) { sound(slice(x23, n, 0, 1)); }},
       {"slice's begin", [](int64_t n) { sound(slice(x23, 1, n, 3)); }},
       {"slice's end", [](int64_t n) { sound(slice(x23, 1, 0, n)); }},
       {"slice's step",
        [](int64_t n) {
          sound(x23, [n](const Tensor& x) { return slice(x, 1, 0, 3, n); });
          sound(slice(x23, 1, 3, 3, n));
        }},
       {"select",
        [](int64_t n) {
          sound(select(x23, 1, n));
          sound(select(x23, n, 0));
        }},
       {"concat",
        [](int64_t n) {
          sound(concat({x23, x23}, n));
        }},
       {"stack",
        [](int64_t n) {
          sound(stack({x23, x23}, n));
        }},
       {"unbind", [](int64_t n) { unbind(x23, n); }},
       {"split's size", [](int64_t n) { split(x23, n, 1); }},
       {"split's sizes",
        [](int64_t n) {
          split(x23, {n, 3 - std::clamp<int64_t>(n, 0, 3)}, 1);
          split(x23, {n, n, n}, 1);
        }},
       {"split's axis", [](int64_t n) { split(x23, 1, n); }},
       {"split of nothing",
        [](int64_t n) {
          split(ones({0, 3}), n);
        }},
       {"chunk's count", [](int64_t n) { chunk(x23, n, 1); }},
       {"chunk's axis", [](int64_t n) { chunk(x23, 2, n); }},
       {"chunk of nothing",
        [](int64_t n) {
          chunk(ones({0, 3}), n);
        }},
       {"Axes", [](int64_t n) { sound(x23, [n](const Tensor& x) { return sum(x, n); }); }},
       {"Pair", [](int64_t n) { adaptive_avg_pool2d(image, n); }},
       {"sum", [](int64_t n) { sound(sum(x23, {n})); }},
       {"mean", [](int64_t n) { sound(mean(x23, {n})); }},
       {"var's axis", [](int64_t n) { sound(var(x23, {n})); }},
       {"var's correction",
        [](int64_t n) { sound(x23, [n](const Tensor& x) { return var(x, {1}, false, n); }); }},
       {"max", [](int64_t n) { sound(max(x23, {n})); }},
       {"min", [](int64_t n) { sound(min(x23, {n})); }},
       {"argmax",
        [](int64_t n) {
          sound(argmax(x23, n));
          sound(argmax(x23, Axes{n}));
        }},
       {"sum_to",
        [](int64_t n) {
          sound(sum_to(x23, {n, 1}));
        }},
       {"softmax", [](int64_t n) { sound(softmax(x23, n)); }},
       {"log_softmax", [](int64_t n) { sound(log_softmax(x23, n)); }},
       {"logsumexp", [](int64_t n) { sound(logsumexp(x23, n)); }},
       {"gather",
        [](int64_t n) {
          sound(gather(x23, n, zeros({2, 1}, DType::i64)));
        }},
       {"gather's index",
        [](int64_t n) {
          sound(gather(x23, 1, Tensor::from(std::vector{n, n}, {2, 1})));
        }},
       {"scatter_add",
        [](int64_t n) {
          scatter_add(x23, n, zeros({2, 1}, DType::i64), ones({2, 1}));
        }},
       {"scatter_add's index",
        [](int64_t n) {
          scatter_add(x23, 1, Tensor::from(std::vector{n, n}, {2, 1}), ones({2, 1}));
        }},
       {"index_select", [](int64_t n) { sound(index_select(x23, n, zeros({1}, DType::i64))); }},
       {"index_select's index",
        [](int64_t n) { sound(index_select(x23, 1, Tensor::from(std::vector{n}, {1}))); }},
       {"index_add",
        [](int64_t n) {
          index_add(x23, n, zeros({1}, DType::i64), ones({2, 1}));
        }},
       {"index_add's index",
        [](int64_t n) {
          index_add(x23, 1, Tensor::from(std::vector{n}, {1}), ones({2, 1}));
        }},
       {"embedding", [](int64_t n) { sound(embedding(x23, Tensor::from(std::vector{n}, {1}))); }},
       {"embedding's padding_idx",
        [](int64_t n) { sound(x23, [n](const Tensor& x) { return embedding(x, labels, n); }); }},
       {"Embedding's padding_idx", [](int64_t n) { Embedding(3, 2, {.padding_idx = n}); }},
       {"Softmax and LogSoftmax",
        [](int64_t n) {
          Softmax{n}(x23);
          LogSoftmax{n}(x23);
        }},
       {"one_hot",
        [](int64_t n) {
          sound(one_hot(labels, n));
          sound(one_hot(zeros({0}, DType::i64), n));
        }},
       {"one_hot's label", [](int64_t n) { sound(one_hot(Tensor::from(std::vector{n}, {1}), 3)); }},
       {"cross_entropy's labels",
        [](int64_t n) {
          cross_entropy(x23, Tensor::from(std::vector{n, int64_t{1}}, {2}));
        }},
       {"nll_loss's labels",
        [](int64_t n) {
          nll_loss(x23, Tensor::from(std::vector{n, int64_t{1}}, {2}));
        }},
       {"nll_loss's ignore_index",
        [](int64_t n) { sound(nll_loss(x23, labels, {.ignore_index = n})); }},
       {"cosine_similarity's axis",
        [](int64_t n) {
          sound(x23, [n](const Tensor& x) { return cosine_similarity(x, x * 2, n); });
        }},
       {"cross_entropy's ignore_index",
        [](int64_t n) { sound(cross_entropy(x23, labels, {.ignore_index = n})); }},
       {"layer_norm",
        [](int64_t n) {
          layer_norm(x23, {n});
          layer_norm(x23, {n, n});
        }},
       {"layer_norm_groups",
        [](int64_t n) {
          layer_norm_groups(x23, {n, n});
          rms_norm_groups(x23, {n, n});
        }},
       {"rms_norm",
        [](int64_t n) {
          rms_norm(x23, {n});
          rms_norm(x23, {n, n});
        }},
       {"group_norm",
        [](int64_t n) {
          group_norm(x23, n);
          group_norm_groups(x23, n);
        }},
       {"self_attention",
        [](int64_t n) {
          sound(self_attention(ones({1, 2, 6}), n));
        }},
       {"conv2d's stride",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) { return conv2d(x, kernel, {}, {.stride = {n, 1}}); });
          sound(image, [n](const Tensor& x) { return conv2d(x, kernel, {}, {.stride = {n, n}}); });
        }},
       {"conv2d's padding",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) { return conv2d(x, kernel, {}, {.padding = {n, 1}}); });
          sound(image, [n](const Tensor& x) { return conv2d(x, kernel, {}, {.padding = {n, n}}); });
        }},
       {"conv2d's dilation",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) {
            return conv2d(x, kernel, {}, {.dilation = {n, 1}});
          });
          sound(image, [n](const Tensor& x) {
            return conv2d(x, kernel, {}, {.dilation = {n, n}});
          });
        }},
       {"conv2d, all three",
        [](int64_t n) {
          const Conv2dOptions options{.stride = {n, n}, .padding = {n, n}, .dilation = {n, n}};
          sound(image, [&](const Tensor& x) { return conv2d(x, kernel, {}, options); });
        }},
       {"conv2d's groups", [](int64_t n) { conv2d(image, kernel, {}, {.groups = n}); }},
       {"conv1d",
        [](int64_t n) {
          const Tensor row = select(image, 2, 0), taps = select(kernel, 2, 0);
          sound(row, [&](const Tensor& x) { return conv1d(x, taps, {}, {.stride = n}); });
          sound(row, [&](const Tensor& x) { return conv1d(x, taps, {}, {.padding = n}); });
          sound(row, [&](const Tensor& x) { return conv1d(x, taps, {}, {.dilation = n}); });
          sound(row, [&](const Tensor& x) {
            return conv1d(x, taps, {}, {.padding = Padding::same(), .dilation = n});
          });
          conv1d(row, taps, {}, {.groups = n});
        }},
       {"conv2d of the same size",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) {
            return conv2d(x, kernel, {}, {.padding = Padding::same(), .dilation = {n, 1}});
          });
        }},
       {"conv_transpose2d",
        [](int64_t n) {
          const ConvTranspose2dOptions all[] = {{.stride = {n, 1}},
                                                {.stride = n},
                                                {.padding = {1, n}},
                                                {.output_padding = {n, 0}},
                                                {.stride = n, .output_padding = n - (n > 0)},
                                                {.dilation = {n, 1}},
                                                {.stride = n, .padding = n, .dilation = n},
                                                {.groups = n}};
          for (const ConvTranspose2dOptions& options : all) try {
              sound(image,
                    [&](const Tensor& x) { return conv_transpose2d(x, kernel, {}, options); });
            } catch (const Error&) {
            }
        }},
       {"conv_transpose1d",
        [](int64_t n) {
          const Tensor row = select(image, 2, 0), taps = select(kernel, 2, 0);
          sound(conv_transpose1d(row, taps, {}, {.stride = n}));
        }},
       {"interpolate",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) {
            return interpolate(x, {.size = Pair(n, 2), .mode = Interpolation::bilinear});
          });
          sound(interpolate(image, {.size = n}));
        }},
       {"str of a Pair", [](int64_t n) { BOOST_TEST(str(Pair(n)).size() > 0); }},
       {"max_pool2d_with_indices",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) { return max_pool2d_with_indices(x, n).y; });
        }},
       {"max_unpool2d",
        [](int64_t n) {
          const Tensor places = zeros(image.shape(), DType::i64);
          sound(image, [&](const Tensor& x) { return max_unpool2d(x, places, n); });
        }},
       {"max_unpool2d's options",
        [](int64_t n) {
          const Tensor places = full(image.shape(), static_cast<double>(n), DType::i64);
          const MaxUnpool2dOptions all[] = {
              {.stride = n}, {.padding = n}, {.output_size = n}, {.stride = n, .padding = n}, {}};
          for (const MaxUnpool2dOptions& options : all) try {
              sound(image, [&](const Tensor& x) { return max_unpool2d(x, places, 2, options); });
            } catch (const Error&) {
            }
        }},
       {"max_pool1d",
        [](int64_t n) {
          sound(select(image, 2, 0), [n](const Tensor& x) { return max_pool1d(x, n); });
          sound(max_pool1d(select(image, 2, 0), 2, {.stride = n}));
        }},
       {"avg_pool1d",
        [](int64_t n) {
          sound(select(image, 2, 0), [n](const Tensor& x) { return avg_pool1d(x, n); });
          sound(avg_pool1d(select(image, 2, 0), 2, {.padding = n}));
        }},
       {"adaptive_avg_pool1d",
        [](int64_t n) {
          sound(select(image, 2, 0), [n](const Tensor& x) { return adaptive_avg_pool1d(x, n); });
        }},
       {"max_pool2d's kernel",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) { return max_pool2d(x, {n, n}); });
          sound(image, [n](const Tensor& x) {
            return max_pool2d(x, {n, 1}, {.stride = Pair{1, 1}, .padding = {n / 2, 0}});
          });
        }},
       {"max_pool2d's stride",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) {
            return max_pool2d(x, {2, 2}, {.stride = Pair{n, n}});
          });
          sound(image, [n](const Tensor& x) {
            return max_pool2d(x, {2, 2}, {.stride = Pair{n, n}, .ceil_mode = true});
          });
        }},
       {"max_pool2d's padding",
        [](int64_t n) {
          max_pool2d(image, {2, 2}, {.padding = {n, 0}});
        }},
       {"max_pool2d's dilation",
        [](int64_t n) {
          max_pool2d(image, {2, 2}, {.dilation = {n, 1}});
          max_pool2d(image, {2, 2}, {.padding = {1, 1}, .dilation = {n, n}});
        }},
       {"avg_pool2d's kernel",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) { return avg_pool2d(x, {n, n}); });
          sound(image, [n](const Tensor& x) {
            return avg_pool2d(x, {1, n}, {.stride = Pair{1, 1}, .padding = {0, n / 2}});
          });
        }},
       {"avg_pool2d's stride",
        [](int64_t n) {
          avg_pool2d(image, {2, 2}, {.stride = Pair{n, 1}});
        }},
       {"avg_pool2d's padding",
        [](int64_t n) {
          avg_pool2d(image, {2, 2}, {.padding = {0, n}});
        }},
       {"avg_pool2d's dilation",
        [](int64_t n) {
          avg_pool2d(image, {2, 2}, {.dilation = {n, n}});
        }},
       {"adaptive_avg_pool2d",
        [](int64_t n) {
          sound(image, [n](const Tensor& x) { return adaptive_avg_pool2d(x, {n, n}); });
          sound(adaptive_avg_pool2d(ones({0, 1, 3, 3}), {n, 1}));
        }},
       {"Tape.info",
        [](int64_t n) {
          Tape tape;
          tape.info(static_cast<uint32_t>(n));
        }}},
      kIntegers);
}

BOOST_AUTO_TEST_CASE(integers_of_index_maps_and_orders) {
  call<int64_t>(
      {{"argmin",
        [](int64_t n) {
          sound(argmin(x23, n));
          sound(argmin(x23, Axes{n}));
        }},
       {"prod", [](int64_t n) { sound(prod(x23, {n})); }},
       {"stddev",
        [](int64_t n) {
          sound(stddev(x23, {n}));
          sound(x23, [n](const Tensor& x) { return stddev(x, {1}, false, n); });
        }},
       {"norm", [](int64_t n) { sound(norm(x23, 2, {n})); }},
       {"cumsum", [](int64_t n) { sound(x23, [n](const Tensor& x) { return cumsum(x, n); }); }},
       {"any and all", [](int64_t n) { sound(any(x23 > 0, {n})), all(x23 > 0, {n}); }},
       {"logsumexp",
        [](int64_t n) {
          sound(logsumexp(x23, Axes{n, 0}));
        }},
       {"sort", [](int64_t n) { sound(sort(x23, n).values); }},
       {"argsort", [](int64_t n) { sound(argsort(x23, n)); }},
       {"topk",
        [](int64_t n) {
          sound(topk(x23, n).values);
          sound(topk(x23, 1, n).values);
        }},
       {"max_with_indices", [](int64_t n) { sound(max_with_indices(x23, n).values); }},
       {"min_with_indices", [](int64_t n) { sound(min_with_indices(x23, n).values); }},
       {"flip", [](int64_t n) { sound(flip(x23, {n})); }},
       {"roll",
        [](int64_t n) {
          sound(roll(x23, n, 1));
          sound(roll(x23, 1, n));
        }},
       {"tile",
        [](int64_t n) {
          sound(tile(x23, {n, 0}));
          sound(tile(zeros({0}), {n}));
          tile(x23, {n, n});
        }},
       {"repeat_interleave",
        [](int64_t n) {
          repeat_interleave(x23, n, 1);
          sound(repeat_interleave(x23, 2, n));
        }},
       {"pad",
        [](int64_t n) {
          for (const PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::replicate}) try {
              pad(x23, {n, n}, mode);
              sound(pad(x23, {n, 0, 0, 1}, mode));
            } catch (const Error&) {
            }
          pad(x23, {1, n});
        }},
       {"tril", [](int64_t n) { sound(tril(x23, n)); }},
       {"triu", [](int64_t n) { sound(triu(x23, n)); }},
       {"linspace", [](int64_t n) { linspace(0, 1, n); }},
       {"arange", [](int64_t n) { arange(0, static_cast<double>(n), 1e17); }}},
      kIntegers);
}

BOOST_AUTO_TEST_CASE(numbers_of_index_maps) {
  call<double>(
      {{"arange",
        [](double v) {
          sound(arange(v, v + 3));
          arange(0, v);
          arange(0, 3, v, DType::f64);
          arange(v, -v, 1e307, DType::f64);
        }},
       {"linspace",
        [](double v) {
          sound(linspace(v, 1, 3));
          sound(linspace(v, -v, 3, DType::f64));
        }},
       {"leaky_relu",
        [](double v) { sound(x23, [v](const Tensor& x) { return leaky_relu(x, v); }); }},
       {"elu", [](double v) { sound(x23, [v](const Tensor& x) { return elu(-x, v); }); }},
       {"norm", [](double v) { sound(x23, [v](const Tensor& x) { return norm(x, v, {1}); }); }},
       {"pad",
        [](double v) {
          sound(pad(x23, {1, 1}, PadMode::constant, v));
        }},
       {"integers", [](double v) { sound(clamp(arange(3) * v + v, -1, v)); }}},
      kDoubles);
}

BOOST_AUTO_TEST_CASE(nothing_along_huge_axes_of_index_maps) {
  const auto of = [](std::function<Tensor(const Tensor&)> f) {
    return [f = std::move(f)](const Shape& shape) { sound(zeros(shape), f); };
  };
  call<Shape>({{"integers",
                [](const Shape& s) {
                  const Tensor n = zeros(s, DType::i64);
                  sum(n + n * 2, {0});
                  prod(n, {-1});
                  cumsum(n, 0);
                }},
               {"prod", of([](const Tensor& x) { return prod(x, {0}); })},
               {"prod of the last", of([](const Tensor& x) { return prod(x, {-1}); })},
               {"norm", of([](const Tensor& x) { return norm(x, 2, {0}); })},
               {"norm of the last", of([](const Tensor& x) { return norm(x, 3, {-1}); })},
               {"stddev", of([](const Tensor& x) { return stddev(x, {-1}); })},
               {"cumsum", of([](const Tensor& x) { return cumsum(x, 0); })},
               {"cumsum of the last", of([](const Tensor& x) { return cumsum(x, -1); })},
               {"any", [](const Shape& s) { any(zeros(s, DType::boolean), {0}); }},
               {"logsumexp", of([](const Tensor& x) {
                  return logsumexp(x, Axes{0, 1});
                })},
               {"sort", of([](const Tensor& x) { return sort(x, 0).values; })},
               {"topk", of([](const Tensor& x) { return topk(x, 1).values; })},
               {"flip", of([](const Tensor& x) { return flip(x, {0}); })},
               {"roll", of([](const Tensor& x) { return roll(x, 1, -1); })},
               {"tile", of([](const Tensor& x) {
                  return tile(x, {2, 1});
                })},
               {"pad", of([](const Tensor& x) {
                  return pad(x, {1, 1});
                })},
               {"tril", of([](const Tensor& x) { return tril(x); })},
               {"triu", of([](const Tensor& x) { return triu(x); })},
               {"nonzero", [](const Shape& s) { nonzero(zeros(s)); }},
               {"masked_select", of([](const Tensor& x) { return masked_select(x, x > 0); })},
               {"einsum", of([](const Tensor& x) {
                  return x.ndim() == 2 ? einsum("ij,ij->i", {x, x}) : einsum("ijk->kj", {x});
                })}},
              kShapes);
}

// A window of 2^31 pixels over an image of 4: the padding is not walked over.
BOOST_AUTO_TEST_CASE(windows_far_larger_than_the_image) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4}, {1, 1, 2, 2});
  const int64_t size = int64_t{1} << 31;
  const Pool2dOptions options{.stride = Pair{1, 1}, .padding = {size / 2, size / 2}};
  const std::vector<float> largest(9, 4);
  BOOST_TEST(max_pool2d(x, {size, size}, options).to_vector<float>() == largest);
  Pool2dOptions inside = options;
  inside.count_include_pad = false;
  const std::vector<float> means(9, 2.5);
  BOOST_TEST(avg_pool2d(x, {size, size}, inside).to_vector<float>() == means);
  // Of a window of n x n, all in the padded image, the mean is 10 / n^2.
  BOOST_TEST(avg_pool2d(x, {size, size}, options).at({0, 0, 1, 1}) == 10 * 0x1p-62);
}

BOOST_AUTO_TEST_CASE(integers_of_modules_optimizers_and_data) {
  call<int64_t>(
      {{"Linear",
        [](int64_t n) {
          Linear(n, 2);
          Linear(2, n);
        }},
       {"Linear, both", [](int64_t n) { Linear(n, n); }},
       {"Conv2d's channels",
        [](int64_t n) {
          Conv2d(n, 2, 3);
          Conv2d(2, n, 3);
        }},
       {"Conv2d's kernel", [](int64_t n) { Conv2d(2, 2, n); }},
       {"Conv2d's options",
        [](int64_t n) {
          Conv2d(2, 2, 3, {.stride = n})(image);
          Conv2d(2, 2, 3, {.padding = n})(image);
          Conv2d(2, 2, 3, {.dilation = n})(image);
        }},
       {"Conv2d's groups", [](int64_t n) { Conv2d(2, 2, 3, {.groups = n}); }},
       {"Conv1d and ConvTranspose1d",
        [](int64_t n) {
          Conv1d(n, 2, 3);
          Conv1d(2, 2, n);
          ConvTranspose1d(2, n, 3);
          ConvTranspose1d(2, 2, n);
        }},
       {"ConvTranspose2d",
        [](int64_t n) {
          ConvTranspose2d(n, n, 3);
          ConvTranspose2d(2, 2, {n, 1});
          ConvTranspose2d(2, 2, 3, {.groups = n});
        }},
       {"MaxPool1d", [](int64_t n) { MaxPool1d{n}(select(image, 2, 0)); }},
       {"AvgPool1d", [](int64_t n) { AvgPool1d{n}(select(image, 2, 0)); }},
       {"AdaptiveAvgPool1d", [](int64_t n) { AdaptiveAvgPool1d{n}(select(image, 2, 0)); }},
       {"BatchNorm",
        [](int64_t n) {
          BatchNorm{n};
          BatchNorm(3, {.ghost_size = n})(x23);
        }},
       {"GroupNorm",
        [](int64_t n) {
          GroupNorm(n, 4);
          GroupNorm(1, n);
        }},
       {"InstanceNorm", [](int64_t n) { InstanceNorm{n}; }},
       {"RmsNorm",
        [](int64_t n) {
          RmsNorm{n};
          RmsNorm{Shape{n, n}};
        }},
       {"LayerNorm",
        [](int64_t n) {
          LayerNorm{n};
          LayerNorm{Shape{n, n}};
        }},
       {"Embedding",
        [](int64_t n) {
          Embedding(n, 2);
          Embedding(2, n);
        }},
       {"Flatten",
        [](int64_t n) {
          Flatten(n, -1)(image);
          Flatten(0, n)(image);
        }},
       {"MaxPool2d", [](int64_t n) { MaxPool2d{n}(image); }},
       {"AvgPool2d", [](int64_t n) { AvgPool2d{n}(image); }},
       {"AdaptiveAvgPool2d", [](int64_t n) { AdaptiveAvgPool2d{n}(image); }},
       {"RnnCell",
        [](int64_t n) {
          RnnCell(n, 2);
          RnnCell(2, n);
        }},
       {"LstmCell",
        [](int64_t n) {
          LstmCell(n, 2);
          LstmCell(2, n);
        }},
       {"GruCell",
        [](int64_t n) {
          GruCell(n, 2);
          GruCell(2, n);
        }},
       {"Rnn", [](int64_t n) { Rnn(2, n); }},
       {"Rnn's norm_steps",
        [](int64_t n) {
          RnnCell(2, 2, {.norm = [](int64_t size) { return LayerNorm(size); }, .norm_steps = n});
          Rnn(2, 2, {.norm = [](int64_t size) { return LayerNorm(size); }, .norm_steps = n});
        }},
       {"MultiHeadAttention",
        [](int64_t n) {
          MultiHeadAttention(n, 1);
          MultiHeadAttention(4, n);
        }},
       {"length_mask",
        [](int64_t n) {
          length_mask(zeros({2}, DType::i64), n);
          length_mask(Tensor::from(std::vector{n}, {1}), 3);
        }},
       {"Sequential[]",
        [](int64_t n) {
          Sequential model{Linear(2, 2)};
          model[static_cast<size_t>(n)];
        }},
       {"Parameter",
        [](int64_t n) {
          Parameter({n, n}, Init::uniform(1));
        }},
       {"Init",
        [](int64_t n) {
          for (const Init& init :
               {Init::kaiming_uniform(n), Init::kaiming_normal(n), Init::xavier_uniform(n, n),
                Init::xavier_normal(n, n), Init::fan_in_uniform(n)})
            try {
              Tensor x = empty({3});
              init.draw(x, default_generator());
              BOOST_TEST(all_finite(x));
            } catch (const Error&) {
            }
        }},
       {"Module.initialize", [](int64_t n) { Linear(2, 2).initialize(static_cast<uint64_t>(n)); }},
       {"Mlp",
        [](int64_t n) {
          Mlp(n, 2);
          Mlp(2, n);
          Mlp(2, 2, {.hidden = {n}});
        }},
       {"Cnn's image",
        [](int64_t n) {
          Cnn(1, n, 8, 2);
          Cnn(1, 8, n, 2, {.norm = Norm::layer});
        }},
       {"Cnn",
        [](int64_t n) {
          Cnn(n, 8, 8, 2);
          Cnn(1, 8, 8, n);
          Cnn(1, 8, 8, 2, {.channels = {n}});
        }},
       {"ResidualBlock", [](int64_t n) { ResidualBlock(2, 2, n, 8, n, Norm::none); }},
       {"image_norm", [](int64_t n) { image_norm(Norm::layer, n, n, n); }},
       {"feature_norm", [](int64_t n) { feature_norm(Norm::batch, n); }},
       {"RnnClassifier",
        [](int64_t n) {
          RnnClassifier(n, 2);
          RnnClassifier(2, n);
        }},
       {"RnnClassifier's options",
        [](int64_t n) {
          RnnClassifier(2, 2, {.hidden = n});
          RnnClassifier(2, 2, {.hidden = 3, .norm = Norm::batch, .norm_steps = n});
        }},
       {"Transformer's sizes",
        [](int64_t n) {
          Transformer(n, 2, 2);
          Transformer(2, n, 2);
        }},
       {"Transformer's options",
        [](int64_t n) {
          Transformer(2, 2, 2, {.dim = n});
          Transformer(2, 2, 2, {.heads = n});
          Transformer(2, 2, 2, {.mlp_dim = n});
        }},
       {"Transformer's depth",
        [](int64_t n) { Transformer(2, 2, 2, {.dim = 2, .heads = 1, .depth = n, .mlp_dim = 2}); }},
       {"patches",
        [](int64_t n) {
          patches(ones({1, 1, 4, 4}), n);
        }},
       {"Rnn's num_layers", [](int64_t n) { Rnn(2, 2, {.num_layers = n}); }},
       {"keep_top_k, sample_logits",
        [](int64_t n) {
          sound(keep_top_k(ones({2, 3}), n));
          sound(sample_logits(ones({2, 3}), {.top_k = n}));
        }},
       {"sinusoidal_positions, rotary",
        [](int64_t n) {
          sinusoidal_positions(n, 2);
          sinusoidal_positions(2, n);
          BOOST_TEST(all_finite(rotary(ones({2, 4}), n)));
        }},
       {"TransformerLanguageModel",
        [](int64_t n) {
          const TransformerOptions blocks{.dim = 2, .heads = 1, .depth = 1, .mlp_dim = 2};
          TransformerLanguageModel(n, 2, {.blocks = blocks});
          TransformerLanguageModel(2, n, {.blocks = blocks});
          TransformerLanguageModel(2, n, {.blocks = blocks, .positions = Positions::rotary});
          TransformerLanguageModel(2, n, {.blocks = blocks, .positions = Positions::sinusoidal});
        }},
       {"TransformerLanguageModel's options",
        [](int64_t n) {
          TransformerLanguageModel(2, 2, {.blocks = {.dim = n, .heads = 1}});
          TransformerLanguageModel(2, 2, {.blocks = {.dim = 2, .heads = 1, .depth = n}});
        }},
       {"LstmLanguageModel",
        [](int64_t n) {
          LstmLanguageModel{n};
          LstmLanguageModel(2, {.hidden = n});
          LstmLanguageModel(2, {.hidden = 2, .num_layers = n});
        }},
       {"Autoencoder",
        [](int64_t n) {
          Autoencoder{n};
          Autoencoder(2, {.hidden = {n}, .code = 2});
          Autoencoder(2, {.hidden = {2}, .code = n});
        }},
       {"generate",
        [](int64_t n) {
          if (n > 0 && n < 4) return;
          generate(
              [](const Tensor& tokens) -> Tensor {
                check(false, "{}", tokens.size(1));
                return tokens;
              },
              zeros({2, 1}, DType::i64), n);
        }},
       {"step_schedule",
        [](int64_t n) {
          step_schedule(n)(n);
          step_schedule(3)(n);
        }},
       {"cosine_schedule",
        [](int64_t n) {
          cosine_schedule(n)(n);
          cosine_schedule(3)(n);
        }},
       {"warmup_schedule",
        [](int64_t n) {
          warmup_schedule(n)(n);
          warmup_schedule(3)(n);
        }},
       {"more schedules",
        [](int64_t n) {
          multi_step_schedule({n, 3})(n);
          exponential_schedule(0.5)(n);
          polynomial_schedule(n)(n);
          polynomial_schedule(3)(n);
          cosine_restarts_schedule(n)(n);
          cosine_restarts_schedule(3, 2)(n);
          cosine_restarts_schedule(n, n)(kMax);
          cosine_restarts_schedule(3, n)(7);
          one_cycle_schedule(n)(n);
          one_cycle_schedule(3)(n);
        }},
       {"ReduceOnPlateau",
        [](int64_t n) {
          ReduceOnPlateau({.patience = n}).step(1);
          ReduceOnPlateau({.patience = 0, .cooldown = n}).step(1);
        }},
       {"Lbfgs",
        [](int64_t n) {
          const auto step = [](LbfgsOptions options) {
            options.line_search_fn = LineSearch::strong_wolfe;
            Tensor p = Tensor::of({3.0}).set_requires_grad();
            Lbfgs({p}, options).step([&] {
              p.set_grad(raw::clone(p));  // a tensor that held itself would never end
              return p * p / 2;
            });
          };
          step({.max_iter = n});
          step({.max_iter = 3, .max_eval = n});
          step({.max_iter = 3, .history_size = n});
        }},
       {"metrics",
        [](int64_t n) {
          const Tensor labels = full({2}, n < 3 ? n : 0, DType::i64);
          confusion_matrix(labels, labels, n);
          top_k_accuracy(ones({2, 3}), labels, n);
        }},
       {"EarlyStopping", [](int64_t n) { EarlyStopping(n).step(1); }},
       {"accumulate_gradients",
        [](int64_t n) {
          Linear layer(2, 2);
          accumulate_gradients(layer, n, [&](int64_t part) {
            check(part < 3, "a test of three parts");
            return sum(layer(ones({2, 2})));
          });
        }},
       {"CheckpointFolder",
        [](int64_t n) {
          const auto place = std::filesystem::temp_directory_path() /
                             fmt::format("gradus-test-extremes-{}", ::getpid());
          std::filesystem::remove_all(place);
          Checkpoint checkpoint, other;
          CheckpointFolder(checkpoint, place).save(n, 1);
          CheckpointFolder(other, place, {.keep_last = n}).resume();
          CsvLog(place / "log.csv", {"step"}, n).write(n);
          CsvLog(place / "log.csv", {"step"}, n).write(n);
          std::filesystem::remove_all(place);
        }},
       {"Optimizer's groups",
        [](int64_t n) {
          Linear layer(2, 2);
          Sgd optimizer(layer.parameters());
          optimizer.lr(static_cast<size_t>(n));
          optimizer.set_lr(0.1, static_cast<size_t>(n));
        }},
       {"DataLoader",
        [](int64_t n) {
          const DataLoader loader(five(), {.batch_size = n, .seed = static_cast<uint64_t>(n)});
          BOOST_TEST(loader.size() == (5 + std::min<int64_t>(n, 5) - 1) / std::min<int64_t>(n, 5));
          BOOST_TEST(loader.epoch(static_cast<uint64_t>(n)).batch(0).y.numel() ==
                     std::min<int64_t>(n, 5));
        }},
       {"DataLoader, drop",
        [](int64_t n) { DataLoader(five(), {.batch_size = n, .last = LastBatch::drop}); }},
       {"Epoch.batch", [](int64_t n) { DataLoader(five(), {.batch_size = 2}).epoch(0).batch(n); }},
       {"Dataset[]", [](int64_t n) { five()[Tensor::from(std::vector{n}, {1})]; }},
       {"train_test_split's seed",
        [](int64_t n) { train_test_split(five(), 0.5, static_cast<uint64_t>(n)); }},
       {"kfold", [](int64_t n) { kfold(five(), n, static_cast<uint64_t>(n)); }},
       {"random_shift",
        [](int64_t n) {
          for (int i = 0; i < 9; ++i) sound(random_shift(image, n, 1, 0));
        }},
       {"largest_hessian_eigenvalue",
        [](int64_t n) {
          largest_hessian_eigenvalue([](const Tensor& v) { return sum(v * v); },
                                     std::array{ones({2}).set_requires_grad()},
                                     {.max_iterations = as_int(std::min<int64_t>(n, 100)),
                                      .seed = static_cast<uint64_t>(n)});
        }}},
      kIntegers);
}

BOOST_AUTO_TEST_CASE(numbers) {
  const Tensor f32 = Tensor::of({-1, 0, 2}), f64 = cast(f32, DType::f64), i64 = arange(3),
               boolean = f32 > 0, rows = ones({3, 2});
  const auto of_each = [=](auto f) {
    for (const Tensor& x : {f32, f64, i64, boolean}) try {
        sound(x, f);
      } catch (const Error&) {  // of this dtype
      }
  };
  call<double>(
      {{"full",
        [=](double v) { of_each([v](const Tensor& x) { return full(x.shape(), v, x.dtype()); }); }},
       {"fill_",
        [=](double v) {
          of_each([v](const Tensor& x) {
            const NoRecord pause;
            Tensor y = raw::clone(x);
            fill_(y, v);
            return y;
          });
        }},
       {"Tensor::of",
        [](double v) {
          for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::boolean}) try {
              sound(Tensor::of({v, 1., v}, dtype));
            } catch (const Error&) {
            }
        }},
       {"cast", [](double v) { cast(Tensor::of({v}, DType::f64), DType::i64); }},
       {"to_vector",
        [](double v) {
          Tensor::of({v}, DType::f64).to_vector<float>();
          Tensor::of({v}, DType::f64).to_vector<bool>();
          Tensor::of({v}, DType::f64).to_vector<uint8_t>();
        }},
       {"less", [=](double v) { of_each([v](const Tensor& x) { return x < v; }); }},
       {"greater and the others",
        [=](double v) {
          of_each([v](const Tensor& x) {
            return less_equal(x, v), greater(x, v), greater_equal(x, v), equal(x, v),
                   not_equal(x, v);
          });
        }},
       {"raw::fill",
        [](double v) {
          Tensor y = ones({2}, DType::f64);
          raw::fill(y, v);
        }},
       {"check_number", [](double v) { check_number("f", v, DType::i64); }},
       {"norm_forward and the other stages",
        [=](double v) {
          const Tensor w = ones({2}), none;
          const NormGroups groups = layer_norm_groups(rows, {2});
          const NormForward y = norm_forward(groups, rows, w, w, v);
          normalize_with(groups, rows, y.mean, y.variance, w, w, v);
          norm_backward_backward(groups, rows, w, rows, v, rows, none, none);
          gradient_along_xhat(groups, rows, w, rows, rows, v).holds(v);
          weight_along_itself(batch_norm_groups(rows), rows, w, rows, rows, rows, v);
          scaled_and_shifted([](const Tensor& x) { return x; }, groups, rows, w, w, v, v, v);
        }},
       {"gradcheck_against",
        [](double v) {
          const Tensor x = ones({1}, DType::f64).set_requires_grad();
          gradcheck_against([](size_t, int64_t) { return std::vector<double>{1}; },
                            [](const Tensor& y) { return y * 1; }, std::array{x}, v);
        }},
       {"gradcheck_f32",
        [](double v) {
          const Tensor x = ones({1}).set_requires_grad();
          gradcheck_f32([](const Tensor& y) { return y * 1; }, std::array{x}, v);
        }},
       {"gradcheck_file",
        [](double v) {
          gradcheck_file(
              "no file", {"x"}, [](const Tensor& y) { return y * 1; }, v);
        }},
       {"add", [=](double v) { of_each([v](const Tensor& x) { return x + v; }); }},
       {"mul", [=](double v) { of_each([v](const Tensor& x) { return x * v; }); }},
       {"div", [=](double v) { of_each([v](const Tensor& x) { return x / v; }); }},
       {"sub from", [=](double v) { of_each([v](const Tensor& x) { return v - x; }); }},
       {"div of", [=](double v) { of_each([v](const Tensor& x) { return v / x; }); }},
       {"pow", [=](double v) { of_each([v](const Tensor& x) { return pow(x, v); }); }},
       {"pow of", [=](double v) { of_each([v](const Tensor& x) { return pow(v, x); }); }},
       {"maximum", [=](double v) { of_each([v](const Tensor& x) { return maximum(x, v); }); }},
       {"minimum", [=](double v) { of_each([v](const Tensor& x) { return minimum(v, x); }); }},
       {"affine",
        [=](double v) {
          of_each([v](const Tensor& x) { return affine(x, v, 0); });
          of_each([v](const Tensor& x) { return affine(x, 1, v); });
        }},
       {"clamp",
        [=](double v) {
          of_each([v](const Tensor& x) { return clamp(x, -1, v); });
          of_each([v](const Tensor& x) { return clamp(x, v, 1); });
        }},
       {"inside", [=](double v) { of_each([v](const Tensor& x) { return inside(x, -v, v); }); }},
       {"masked_fill",
        [=](double v) { of_each([=](const Tensor& x) { return masked_fill(x, boolean, v); }); }},
       {"huber_loss", [=](double v) { huber_loss(f32, f32 + 1, v); }},
       {"interpolate's scale",
        [](double v) {
          sound(image, [v](const Tensor& x) { return interpolate(x, {.scale = v}); });
          sound(interpolate(image, {.scale = v, .mode = Interpolation::bilinear}));
        }},
       {"smooth_l1_loss", [=](double v) { sound(smooth_l1_loss(f32, f32 + 1, v)); }},
       {"cosine_similarity",
        [](double v) {
          sound(x23, [v](const Tensor& x) { return cosine_similarity(x, x * 2, 1, v); });
        }},
       {"gaussian_nll_loss",
        [](double v) {
          sound(x23, [v](const Tensor& x) { return gaussian_nll_loss(x, x * 2, x, {.eps = v}); });
        }},
       {"cosine_embedding_loss",
        [](double v) {
          sound(x23, [v](const Tensor& x) {
            return cosine_embedding_loss(x, x * 2, ones({2}), {.margin = v});
          });
        }},
       {"cross_entropy", [=](double v) { cross_entropy(x23, labels, {.label_smoothing = v}); }},
       {"dropout", [=](double v) { dropout(f32, v); }},
       {"layer_norm", [=](double v) { layer_norm(rows, {2}, {}, {}, {.eps = v}); }},
       {"rms_norm", [=](double v) { rms_norm(rows, {2}, {}, {.eps = v}); }},
       {"group_norm", [=](double v) { group_norm(rows, 1, {}, {}, {.eps = v}); }},
       {"batch_norm", [=](double v) { batch_norm(rows, {}, {}, {.eps = v}); }},
       {"scaled_dot_product_attention",
        [=](double v) {
          scaled_dot_product_attention(rows, rows, rows, {.scale = v});
          scaled_dot_product_attention(rows, rows, rows, {.dropout = v});
        }},
       {"uniform",
        [](double v) {
          BOOST_TEST(all_finite(uniform({9}, v, 1)));
          BOOST_TEST(all_finite(uniform({9}, -1, v, default_generator(), DType::f64)));
        }},
       {"bernoulli", [](double v) { bernoulli({9}, v); }},
       {"bernoulli of a tensor", [](double v) { bernoulli(full({9}, v, DType::f64)); }},
       {"keep_top_p, sample_logits",
        [](double v) {
          sound(keep_top_p(ones({2, 3}), v));
          sample_logits(full({2, 3}, v, DType::f64));
          sample_logits(Tensor::of({1., 2.}), {.temperature = v});
          sample_logits(Tensor::of({1., 2.}), {.top_p = v});
        }},
       {"rotary",
        [](double v) {
          rotary(ones({3, 4}), 1, v);
        }},
       {"Rnn's dropout", [](double v) { Rnn(2, 2, {.num_layers = 2, .dropout = v}); }},
       {"Init::draw",
        [](double v) {
          Tensor x = empty({9});
          Init::uniform(v).draw(x, default_generator());
          Init::constant(v).draw(x, default_generator());
          Init::normal(v).draw(x, default_generator());
          Parameter({9}, Init::constant(v));
        }},
       {"Dropout", [=](double v) { Dropout{v}(f32); }},
       {"BatchNorm's",
        [=](double v) {
          BatchNorm(2, {.eps = v})(rows);
          BatchNorm(2, {.momentum = v})(rows);
        }},
       {"LayerNorm's", [=](double v) { LayerNorm(2, {.eps = v})(rows); }},
       {"GroupNorm's", [=](double v) { GroupNorm(1, 2, {.eps = v})(rows); }},
       {"RmsNorm's", [=](double v) { RmsNorm(2, {.eps = v})(rows); }},
       {"Transformer's",
        [](double v) { Transformer(2, 2, 2, {.dim = 2, .heads = 1, .dropout = v}); }},
       {"Sgd", [](double v) { Sgd(Linear(2, 2).parameters(), {.lr = v, .momentum = v}); }},
       {"Adam", [](double v) { Adam(Linear(2, 2).parameters(), {.beta1 = v, .eps = v}); }},
       {"AdamW", [](double v) { AdamW(Linear(2, 2).parameters(), {.weight_decay = v}); }},
       {"Adagrad",
        [](double v) {
          Adagrad(Linear(2, 2).parameters(), {.lr = v, .lr_decay = v, .eps = v});
          Adagrad(Linear(2, 2).parameters(), {.initial_accumulator_value = v});
        }},
       {"Lion", [](double v) { Lion(Linear(2, 2).parameters(), {.beta1 = v, .weight_decay = v}); }},
       {"Rmsprop",
        [](double v) { Rmsprop(Linear(2, 2).parameters(), {.alpha = v, .momentum = v}); }},
       {"set_lr",
        [](double v) {
          Sgd optimizer(Linear(2, 2).parameters());
          optimizer.set_lr(v);
          optimizer.set_lr_factor(v);
        }},
       {"weight_decay_groups",
        [](double v) {
          Linear layer(2, 2);
          weight_decay_groups(layer, v);
        }},
       {"clip_grad_norm",
        [](double v) {
          Tensor p = ones({2}).set_requires_grad();
          p.set_grad(ones({2}));
          clip_grad_norm(std::array{p}, v);
        }},
       {"AveragedModel",
        [](double v) {
          Linear layer(2, 2);
          AveragedModel(layer, v).update_parameters(layer);
        }},
       {"EarlyStopping",
        [](double v) {
          EarlyStopping(1).step(v);
          EarlyStopping(1, {.threshold = v}).step(1);
        }},
       {"clip_grad_value",
        [](double v) {
          Tensor p = ones({2}).set_requires_grad();
          p.set_grad(ones({2}));
          clip_grad_value(std::array{p}, v);
        }},
       {"more schedules",
        [](double v) {
          multi_step_schedule({3}, v)(7);
          exponential_schedule(v)(3);
          polynomial_schedule(3, v)(1);
          cosine_restarts_schedule(3, 2, v)(7);
          one_cycle_schedule(9, v)(3);
          one_cycle_schedule(9, 0.5, v)(3);
          one_cycle_schedule(9, 0.5, 2, v)(8);
        }},
       {"ReduceOnPlateau",
        [](double v) {
          ReduceOnPlateau({.factor = v, .improvement = {.threshold = v}, .lowest = v}).step(v);
          ReduceOnPlateau({.patience = 0}).step(v);
          Improvement{.threshold = v}(v, v);
        }},
       {"Lbfgs",
        [](double v) {
          Tensor p = Tensor::of({3.0}).set_requires_grad();
          const auto closure = [&] {
            p.set_grad(p * v);
            return p * v;
          };
          Lbfgs({p}, {.lr = v}).step(closure);
          Lbfgs({p}, {.tolerance_grad = v}).step(closure);
          Lbfgs({p}, {.tolerance_change = v, .line_search_fn = LineSearch::strong_wolfe})
              .step(closure);
        }},
       {"schedules",
        [](double v) {
          step_schedule(3, v)(7);
          cosine_schedule(3, v)(1);
        }},
       {"train_test_split", [](double v) { train_test_split(five(), v, 1); }},
       {"pad_sequence",
        [](double v) {
          pad_sequence({ones({2}), ones({3})}, v);
        }},
       {"random_shift", [](double v) { random_shift(image, 1, v, v); }}},
      kDoubles);
}

BOOST_AUTO_TEST_CASE(tables_and_files_of_integers) {
  call<int64_t>(
      {{"Standardizer",
        [](int64_t n) {
          Standardizer(n).apply(ones({2, 3}));
        }},
       {"token",
        [](int64_t n) {
          Vocabulary({"a", "b"}).token(n);
        }},
       {"VocabularyOptions",
        [](int64_t n) {
          Vocabulary::of({"a", "b"}, {.at_least = n});
          Vocabulary::of({"a", "b"}, {.most = n});
        }},
       {"next_token_windows", [](int64_t n) { sound(next_token_windows(arange(5), n).x); }},
       {"next_token_windows, step",
        [](int64_t n) { sound(next_token_windows(arange(5), 2, n).y); }},
       {"random_flip", [](int64_t n) { sound(random_flip(image, 1, n)); }},
       {"random_crop, padding", [](int64_t n) { sound(random_crop(image, 4, 4, n)); }},
       {"random_crop, height", [](int64_t n) { sound(random_crop(image, n, 1)); }},
       {"random_crop, width", [](int64_t n) { sound(random_crop(image, 1, n, 3)); }},
       {"DataLoader, prefetch",
        [](int64_t n) {
          const DataLoader loader(five(), {.batch_size = 2, .prefetch = n});
          for (const Batch& batch : loader.epoch(0)) BOOST_TEST(batch.size() <= 2);
        }},
       {"DataLoader, bucket",
        [](int64_t n) {
          Dataset data = five();
          data.more = {{"lengths", zeros({5}, DType::i64)}};
          const DataLoader loader(data, {.batch_size = 2, .bucket = n});
          BOOST_TEST(loader.epoch(0).batch(2).size() == 1);
        }}},
      kIntegers);
}

BOOST_AUTO_TEST_CASE(tables_and_files_of_doubles) {
  call<double>(
      {{"Standardizer",
        [](double v) {
          const Standardizer columns = Standardizer::fit(Tensor::of({{v, 0}, {1, 0}}, DType::f64));
          sound(columns.invert(columns.apply(ones({2, 2}))));
        }},
       {"random_flip", [](double v) { random_flip(image, v); }},
       {"random_crop", [](double v) { random_crop(image, 5, 5, 1, v); }},
       {"rotate",
        [](double v) {
          rotate(image, Tensor::of({v, v}, DType::f64));
          rotate(image, ones({2}), v);
        }},
       {"random_rotation", [](double v) { random_rotation(image, v, v); }},
       {"random_noise", [](double v) { random_noise(x23, v); }},
       {"mixup", [](double v) { sound(mixup(five(), v).y); }}},
      kDoubles);
}

// Shapes without elements whose sizes are huge: what there is to do is nothing.
BOOST_AUTO_TEST_CASE(nothing_along_huge_axes) {
  const auto unary = [](Tensor (*f)(const Tensor&)) {
    return [f](const Shape& shape) { sound(zeros(shape), f); };
  };
  const auto of = [](std::function<Tensor(const Tensor&)> f) {
    return [f = std::move(f)](const Shape& shape) { sound(zeros(shape), f); };
  };
  const auto binary = [](Tensor (*f)(const Tensor&, const Tensor&)) {
    return [f](const Shape& shape) {
      sound(zeros(shape), [f](const Tensor& x) { return f(x, x); });
      sound(zeros(shape),
            [f](const Tensor& x) { return f(x, ones({x.shape().back() == 0 ? 1 : 1})); });
      sound(zeros(shape),
            [f](const Tensor& x) { return f(transpose(x, 0, -1), transpose(x, 0, -1)); });
    };
  };
  call<Shape>(
      {{"printing", [](const Shape& s) { (void)fmt::format("{}", zeros(s)); }},
       {"Tensor::from", [](const Shape& s) { Tensor::from(std::vector<float>(), s); }},
       {"to_vector", [](const Shape& s) { zeros(s).to_vector<double>(); }},
       {"rand",
        [](const Shape& s) {
          randn(s);
          rand(s);
          bernoulli(s, 0.5);
          randint(0, 3, s);
        }},
       {"raw::clone", [](const Shape& s) { raw::clone(transpose(zeros(s), 0, -1)); }},
       {"raw::cast", [](const Shape& s) { raw::cast(zeros(s), DType::i64); }},
       {"unravel", [](const Shape& s) { unravel(0, s); }},
       {"exp", unary(exp)},
       {"relu", unary(relu)},
       {"tanh", unary(tanh)},
       {"add", binary(add)},
       {"sub", binary(sub)},
       {"mul", binary(mul)},
       {"div", binary(div)},
       {"pow", binary(pow)},
       {"maximum", binary(maximum)},
       {"minimum", binary(minimum)},
       {"less", binary(less)},
       {"equal", binary(equal)},
       {"add of a number", of([](const Tensor& x) { return x + 1; })},
       {"where", of([](const Tensor& x) { return where(x > 0, x, ones({})); })},
       {"masked_fill", of([](const Tensor& x) { return masked_fill(x, x > 0, 1); })},
       {"cast", of([](const Tensor& x) { return cast(x, DType::f64); })},
       {"any",
        [](const Shape& s) {
          any(zeros(s) > 0);
          all(zeros(s) > 0);
          all_finite(zeros(s));
        }},
       {"contiguous", of([](const Tensor& x) { return contiguous(transpose(x, 0, -1)); })},
       {"flatten", of([](const Tensor& x) { return flatten(x); })},
       {"slice", of([](const Tensor& x) { return slice(x, 0, 0, x.size(0), 2); })},
       {"select", of([](const Tensor& x) { return select(x, 0, 0); })},
       {"concat", of([](const Tensor& x) {
          return concat({x, x}, 0);
        })},
       {"concat along the last", of([](const Tensor& x) {
          return concat({x, x}, -1);
        })},
       {"stack", of([](const Tensor& x) {
          return stack({x, transpose(transpose(x))}, 1);
        })},
       {"unbind, first", of([](const Tensor& x) { return first_of(unbind(x, 0), x); })},
       {"unbind, last", of([](const Tensor& x) { return first_of(unbind(x, -1), x); })},
       {"expand",
        of([](const Tensor& x) { return expand(unsqueeze(x, 0), x.shape().inserted(0, 3)); })},
       {"sum", of([](const Tensor& x) { return sum(x); })},
       {"sum of the first", of([](const Tensor& x) { return sum(x, {0}); })},
       {"sum of the last", of([](const Tensor& x) { return sum(x, {-1}); })},
       {"mean", of([](const Tensor& x) { return mean(x, {0}); })},
       {"var", of([](const Tensor& x) { return var(x, {0}); })},
       {"var of the last", of([](const Tensor& x) { return var(x, {-1}); })},
       {"max", of([](const Tensor& x) { return max(x, {0}); })},
       {"max of the last", of([](const Tensor& x) { return max(x, {-1}); })},
       {"min", of([](const Tensor& x) { return min(x, {0}, true); })},
       {"argmax", [](const Shape& s) { argmax(zeros(s), 0); }},
       {"argmax of the last", [](const Shape& s) { argmax(zeros(s), -1); }},
       {"argmax of several",
        [](const Shape& s) {
          argmax(zeros(s), Axes{0, 1});
        }},
       {"softmax", of([](const Tensor& x) { return softmax(x); })},
       {"softmax of the first", of([](const Tensor& x) { return softmax(x, 0); })},
       {"log_softmax", of([](const Tensor& x) { return log_softmax(x, 0); })},
       {"logsumexp", of([](const Tensor& x) { return logsumexp(x, 0); })},
       {"gather", of([](const Tensor& x) { return gather(x, 0, zeros(x.shape(), DType::i64)); })},
       {"gather of the last",
        of([](const Tensor& x) { return gather(x, -1, zeros(x.shape(), DType::i64)); })},
       {"scatter_add",
        of([](const Tensor& x) { return scatter_add(x, 1, zeros(x.shape(), DType::i64), x); })},
       {"index_select",
        of([](const Tensor& x) { return index_select(x, -1, zeros({2}, DType::i64)); })},
       {"index_select of none",
        of([](const Tensor& x) { return index_select(x, 0, zeros({0}, DType::i64)); })},
       {"index_add", of([](const Tensor& x) { return index_add(x, 1, arange(x.size(1)), x); })},
       {"embedding",
        [](const Shape& s) {
          embedding(zeros({0, 3}), zeros(s, DType::i64));
        }},
       {"embedding's weight",
        of([](const Tensor& x) { return embedding(x, zeros({0}, DType::i64)); })},
       {"one_hot", [](const Shape& s) { one_hot(zeros(s, DType::i64), 3); }},
       {"matmul", of([](const Tensor& x) { return matmul(x, x, true); })},
       {"matmul, the other", of([](const Tensor& x) { return matmul(x, x, false, true); })},
       {"linear", of([](const Tensor& x) {
          return linear(x, zeros({0, x.shape().back()}));
        })},
       {"linear with 2 outputs", of([](const Tensor& x) {
          return linear(x, zeros({2, x.shape().back()}), zeros({2}));
        })},
       {"layer_norm", of([](const Tensor& x) { return layer_norm(x, {x.shape().back()}); })},
       {"rms_norm", of([](const Tensor& x) { return rms_norm(x, {x.shape().back()}); })},
       {"group_norm", of([](const Tensor& x) { return group_norm(x, 1); })},
       {"batch_norm", of([](const Tensor& x) { return batch_norm(x).y; })},
       {"batch_norm, last",
        of([](const Tensor& x) { return batch_norm(x, {}, {}, {.axis = ChannelAxis::last}).y; })},
       {"batch_norm_inference", of([](const Tensor& x) {
          return batch_norm_inference(x, zeros({x.size(1)}), ones({x.size(1)}));
        })},
       {"mse_loss", of([](const Tensor& x) { return mse_loss(x, x, Reduction::sum); })},
       {"huber_loss", of([](const Tensor& x) { return huber_loss(x, x, 1, Reduction::none); })},
       {"l1_loss", of([](const Tensor& x) { return l1_loss(x, x, Reduction::sum); })},
       {"smooth_l1_loss",
        of([](const Tensor& x) { return smooth_l1_loss(x, x, 1, Reduction::sum); })},
       {"kl_div", of([](const Tensor& x) { return kl_div(x, x, {.reduction = Reduction::sum}); })},
       {"binary_cross_entropy", of([](const Tensor& x) {
          return binary_cross_entropy(x, x, {.reduction = Reduction::sum});
        })},
       {"gaussian_nll_loss", of([](const Tensor& x) {
          return gaussian_nll_loss(x, x, x, {.reduction = Reduction::sum});
        })},
       {"cosine_similarity", of([](const Tensor& x) { return cosine_similarity(x, x, -1); })},
       {"nll_loss", of([](const Tensor& x) {
          return nll_loss(x, zeros(x.shape().erased(1), DType::i64), {.reduction = Reduction::sum});
        })},
       {"cross_entropy of probabilities", of([](const Tensor& x) {
          return cross_entropy(x, zeros(x.shape()), {.reduction = Reduction::sum});
        })},
       {"binary_cross_entropy_with_logits", of([](const Tensor& x) {
          return binary_cross_entropy_with_logits(x, x, {.reduction = Reduction::sum});
        })},
       {"cross_entropy", of([](const Tensor& x) {
          return cross_entropy(x, zeros(x.shape().erased(1), DType::i64),
                               {.reduction = Reduction::sum});
        })},
       {"dropout", of([](const Tensor& x) { return dropout(x, 0.5); })},
       {"scaled_dot_product_attention",
        of([](const Tensor& x) { return scaled_dot_product_attention(x, x, x); })},
       {"attention, values alone", of([](const Tensor& x) {
          const Tensor q = zeros(x.shape().erased(x.ndim() - 1).inserted(x.ndim() - 1, 0));
          return scaled_dot_product_attention(q, q, x, {.causal = true});
        })},
       {"attention, one query", of([](const Tensor& x) {
          Shape one = x.shape();
          one[-2] = 1;
          return scaled_dot_product_attention(zeros(one), x, x);
        })},
       {"self_attention", of([](const Tensor& x) { return self_attention(x, 1); })},
       {"conv2d", of([](const Tensor& x) {
          return conv2d(x, ones({2, x.size(1), 1, 1}));
        })},
       {"conv2d 3x3", of([](const Tensor& x) {
          return conv2d(x, ones({2, x.size(1), 3, 3}), {}, {.padding = {1, 1}});
        })},
       {"interpolate", of([](const Tensor& x) { return interpolate(x, {.scale = 2}); })},
       {"conv1d", of([](const Tensor& x) {
          return conv1d(x, ones({2, x.size(1), 1}));
        })},
       {"conv_transpose2d", of([](const Tensor& x) {
          return conv_transpose2d(x, ones({x.size(1), 2, 1, 1}));
        })},
       {"max_pool2d", of([](const Tensor& x) {
          return max_pool2d(x, {2, 2}, {.padding = {1, 1}});
        })},
       {"avg_pool2d", of([](const Tensor& x) {
          return avg_pool2d(x, {1, 1});
        })},
       {"avg_pool2d, half the image", of([](const Tensor& x) {
          return avg_pool2d(x, {x.size(2) / 2, x.size(3) / 2}, {.stride = Pair{1, 1}});
        })},
       {"adaptive_avg_pool2d", of([](const Tensor& x) {
          return adaptive_avg_pool2d(x, {1, 1});
        })},
       {"recurrence",
        [](const Shape& s) {
          for (const CellKind kind : {CellKind::tanh, CellKind::lstm, CellKind::gru})
            sound(zeros(s), [&](const Tensor& x) {
              const Tensor w_ih = zeros({gates_of(kind) * 2, x.shape().back()}),
                           w_hh = zeros({gates_of(kind) * 2, 2});
              return recurrence(kind, x, {}, {w_ih, w_hh, {}, {}}).state.h;
            });
        }},
       {"Rnn", of([](const Tensor& x) { return Rnn(x.shape().back(), 2).forward(x).h; })},
       {"Lstm with lengths", of([](const Tensor& x) {
          return Lstm(x.shape().back(), 2).forward(x, zeros({x.size(0)}, DType::i64)).h;
        })},
       {"length_mask", [](const Shape& s) { length_mask(zeros({0}, DType::i64), s[0]); }},
       {"patches", of([](const Tensor& x) { return patches(x, 1); })},
       {"categorical", [](const Shape& s) { sound(categorical(zeros(s))); }},
       {"bernoulli of a tensor", [](const Shape& s) { sound(bernoulli(zeros(s))); }},
       {"keep_top_k", of([](const Tensor& x) { return keep_top_k(x, 2); })},
       {"keep_top_p", of([](const Tensor& x) { return keep_top_p(x, 0.5); })},
       {"rotary", of([](const Tensor& x) { return rotary(x); })},
       {"random_shift", [](const Shape& s) { random_shift(zeros(s), 1, 0.5, 0); }},
       {"Standardizer", of([](const Tensor& x) { return Standardizer(x.size(-1)).apply(x); })},
       {"random_flip", of([](const Tensor& x) { return random_flip(x); })},
       {"random_crop", of([](const Tensor& x) { return random_crop(x, 1, 1); })},
       {"rotate", of([](const Tensor& x) { return rotate(x, zeros({x.size(0)})); })},
       {"sum_to", of([](const Tensor& x) { return sum_to(x, x.shape().erased(0)); })},
       {"Sgd",
        [](const Shape& s) {
          Tensor p = zeros(s).set_requires_grad();
          p.set_grad(zeros(s));
          Sgd({p}, {.momentum = 0.9}).step();
          clip_grad_norm(std::array{p}, 1);
        }},
       {"Adam",
        [](const Shape& s) {
          Tensor p = zeros(s).set_requires_grad();
          p.set_grad(zeros(s));
          Adam({p}).step();
        }},
       {"listing",
        [](const Shape& s) {
          Tape tape;
          const Tensor y = zeros(s).set_requires_grad() + 1;
          listing(tape);
          to_json(tape);
          to_dot(tape);
        }},
       {"gradcheck",
        [](const Shape& s) {
          gradcheck([](const Tensor& v) { return v + 1; },
                    {zeros(s, DType::f64).set_requires_grad()});
        }},
       {"jacobian",
        [](const Shape& s) {
          jacobian([](const Tensor& v) { return v + 1; }, zeros(s).set_requires_grad());
        }}},
      kShapes);
}

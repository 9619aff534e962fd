#define BOOST_TEST_MODULE no_influence
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/index_maps.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/rnn.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/rms_norm.h>
#include <gradus/layers/rnn_cell.h>

#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "tests/checks.h"

using namespace gradus;

// What has no influence as a number has none as NaN, infinity or 1e20: where a mask, a condition, a
// comparison, an index or a length leaves an entry out, no result may change in a single bit.
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNaN = std::numeric_limits<double>::quiet_NaN();

/// Values, gradients and second order of a function: y; dx for dy, swept without and with
/// recording; the gradients of the sum of dx u with respect to x and dy.
class Program {
 public:
  explicit Program(const OpSample& sample) : Program(sample, sample.inputs[0].dtype()) {}
  Program(const OpSample& sample, DType dtype) : f_(sample.f) {
    for (const Tensor& x : sample.inputs) inputs_.push_back(raw::clone(raw::cast(x, dtype)));
    dy_ = wave(f_(inputs_), 0.3);
    for (const Tensor& x : inputs_)
      u_.push_back(wave(x, 0.7 + 0.1 * static_cast<double>(u_.size())));
    for (Tensor* x : numbers()) x->set_requires_grad();
  }

  /// Every tensor of numbers that the results depend on.
  std::vector<Tensor*> numbers() {
    std::vector<Tensor*> all;
    for (Tensor& x : inputs_) all.push_back(&x);
    all.push_back(&dy_);
    for (Tensor& u : u_) all.push_back(&u);
    return all;
  }

  /// The results where an element of numbers() is another.
  std::vector<double> with(size_t tensor, int64_t element, double other) {
    return dispatch_floating(dy_.dtype(), "with", [&]<class T>() {
      T& value = numbers()[tensor]->mutable_data<T>()[element];
      const T own = std::exchange(value, static_cast<T>(other));
      std::vector<double> all = results();
      value = own;
      return all;
    });
  }

  std::vector<double> results() const {
    std::vector<double> all;
    const auto add = [&](const Tensor& y, const Tensor& like) {
      const auto values = (y ? y : zeros_like(like)).to_vector<double>();
      all.insert(all.end(), values.begin(), values.end());
    };
    Tape tape;
    const Tensor y = f_(inputs_);
    add(y, y);
    const auto gradients = [&](CreateGraph create_graph) {
      auto dx = tape.gradient(
          y, inputs_,
          {.create_graph = create_graph, .keep_graph = true, .dy = dy_, .allow_unused = true});
      for (size_t i = 0; i < dx.size(); ++i) add(dx[i], inputs_[i]);
      return dx;
    };
    gradients(CreateGraph::no);  // of a fused op another function
    const auto dx = gradients(CreateGraph::yes);
    std::vector<Tensor> variables = inputs_;
    variables.push_back(dy_);
    Tensor total;
    for (size_t i = 0; i < dx.size(); ++i) {
      if (!dx[i]) continue;
      const Tensor part = sum(dx[i] * raw::clone(u_[i]));
      total = total ? total + part : part;
    }
    const auto second = total ? tape.gradient(total, variables, {.allow_unused = true})
                              : std::vector<Tensor>(variables.size());
    for (size_t i = 0; i < second.size(); ++i) add(second[i], variables[i]);
    return all;
  }

 private:
  static Tensor wave(const Tensor& like, double b) {
    return raw::cast(test::wave(like.shape(), 1.3, b, 0.2), like.dtype());
  }

  std::function<Tensor(std::span<const Tensor>)> f_;
  std::vector<Tensor> inputs_, u_;
  Tensor dy_;
};

/// The same bits, up to NaN's payload.
bool same(double a, double b) {
  return (a == b && std::signbit(a) == std::signbit(b)) || (std::isnan(a) && std::isnan(b));
}

/// Which numbers are left alone: (tensor, element) of Program::numbers().
using Skip = std::function<bool(size_t tensor, int64_t element)>;

/// How far apart results of f32 may be: sums over a tensor that holds what is not finite are added
/// up in double, so that others among its results are rounded anew, and those of second order are
/// differences of terms as large as the largest of them.
double rounded_anew(const std::vector<double>& results, DType dtype) {
  double largest = 1;
  for (double x : results)
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  return dtype == DType::f32 ? 0x1p-20 * largest : 0;
}

/// Changes each number the program depends on to other finite ones, and then to NaN and the like:
/// results that the first leave alone are left alone by those. What the first leave alone is found
/// in f64, where no change is lost by rounding. Returns how many pairs were held against each
/// other.
int64_t check_program(const std::string& what, const OpSample& sample, const Skip& skip,
                      DType dtype) {
  Program program(sample), tried(sample, dtype);
  const std::vector<double> before = program.results(), tried_before = tried.results();
  const double apart = rounded_anew(tried_before, dtype);
  int64_t pairs = 0;
  size_t tensor = 0;
  for (const Tensor* x : program.numbers()) {
    const double* values = x->data<double>();
    const int64_t step = std::max<int64_t>(1, x->numel() / 24);
    for (int64_t k = 0; k < x->numel(); k += step) {
      if (skip(tensor, k)) continue;
      const double value = values[k];
      std::vector<bool> free(before.size(), true);
      for (double other : {0.7 * value + 0.1, 0.1 * value, 17.3, -17.3, 1e6, -1e6}) {
        const std::vector<double> results = program.with(tensor, k, other);
        for (size_t i = 0; i < free.size(); ++i) free[i] = free[i] && same(results[i], before[i]);
      }
      for (double other : {kNaN, kInf, -kInf, 1e20}) {
        const std::vector<double> results = tried.with(tensor, k, other);
        for (size_t i = 0; i < free.size(); ++i) {
          if (!free[i]) continue;
          ++pairs;
          if (same(results[i], tried_before[i])) continue;
          if (std::abs(results[i] - tried_before[i]) <= apart) continue;
          BOOST_TEST(false, what << ", " << name(dtype) << ": " << other << " in element " << k
                                 << " of tensor " << tensor << " makes result " << i << " "
                                 << results[i] << ", not " << tried_before[i]);
          return pairs;
        }
      }
    }
    ++tensor;
  }
  return pairs;
}

}  // namespace

namespace {

/// What the rule is not about: NaN that a relu or huber_loss is given passes it. A single key has
/// the weight 1 whatever its score, which is a number like others; and what meets the zeros of
/// padding, or of a relu's result or gradient, in a product is not left out itself.
Skip skipped(const std::string& op, const OpSample& sample) {
  const size_t dy = sample.inputs.size();
  const auto label_has = [&](const char* text) {
    return sample.label.find(text) != std::string::npos;
  };
  if (op == "attention" && label_has("causal"))
    return [](size_t, int64_t element) { return element < 3; };
  if (op == "huber_loss") return [](size_t tensor, int64_t) { return tensor < 2; };
  if (op == "rnn_relu") return [](size_t, int64_t) { return true; };
  if (label_has("relu")) return [=](size_t tensor, int64_t) { return tensor != dy; };
  if (label_has("padded") && (op == "rnn" || op == "lstm" || op == "gru"))
    return [=](size_t tensor, int64_t) { return tensor != 0 && tensor != dy && tensor != dy + 1; };
  return [](size_t, int64_t) { return false; };
}

}  // namespace

namespace {

/// False where a sample holds numbers of f64 beside its inputs.
bool takes_f32(const OpSample& sample) {
  try {
    Program(sample, DType::f32).results();
  } catch (const Error&) {
    return false;
  }
  return true;
}

}  // namespace

BOOST_AUTO_TEST_CASE(no_op_lets_through_what_it_leaves_out) {
  int64_t pairs = 0, narrow = 0;
  for (const OpSamples* row : all_op_samples()) {
    const std::string op = row->name;
    if (op.starts_with("conv2d")) continue;  // tests/autograd/test_conv.cc
    for (const OpSample& sample : row->make()) {
      const std::string what = op + ", " + sample.label;
      pairs += check_program(what, sample, skipped(op, sample), DType::f64);
      if (takes_f32(sample)) narrow += check_program(what, sample, skipped(op, sample), DType::f32);
    }
  }
  BOOST_TEST_MESSAGE(pairs << " pairs in f64, " << narrow << " in f32");
  BOOST_TEST(pairs > 100000);
  BOOST_TEST(narrow > 100000);
}

namespace {

/// What has no influence, where `left_out` holds, holds `value` in the first input.
Tensor filled(const Tensor& x, const Tensor& left_out, double value) {
  return masked_fill(raw::clone(x), raw::contiguous(raw::expand(left_out, x.shape())), value);
}

using Of = std::function<Tensor(std::span<const Tensor>)>;

/// Values, gradients and second order of f are the same bits whatever the inputs hold where they
/// are left out; there the gradients are 0.
void check_left_out(const std::string& what, const std::vector<Tensor>& inputs,
                    const std::vector<Tensor>& left_out, const Of& f) {
  std::vector<double> before;
  for (double value : {0.5, kNaN, kInf, -kInf, 1e20}) {
    OpSample sample{what, {}, f};
    for (size_t i = 0; i < inputs.size(); ++i)
      sample.inputs.push_back(left_out[i] ? filled(inputs[i], left_out[i], value) : inputs[i]);
    const std::vector<double> results = Program(sample).results();
    if (before.empty()) before = results;
    size_t first = 0;
    while (first < results.size() && same(results[first], before[first])) ++first;
    BOOST_TEST(first == results.size(), what << ": " << value << " makes result " << first << " "
                                             << results[first] << ", not " << before[first]);
  }
  for (double x : before) BOOST_TEST_REQUIRE(std::isfinite(x), what);
}

Tensor first_of(const std::vector<int64_t>& lengths, int64_t steps) {
  return less(reshape(arange(steps), {1, steps}),
              reshape(Tensor::from(lengths, {static_cast<int64_t>(lengths.size())}), {-1, 1}));
}

}  // namespace

BOOST_AUTO_TEST_CASE(index_maps) {
  for (DType dtype : {DType::f32, DType::f64}) {
    const std::vector<Tensor> x{raw::cast(sample({3, 4}, 1), dtype)};
    const Tensor above = less(reshape(arange(3), {3, 1}), arange(4)),
                 first = less(expand(arange(4), {3, 4}), 1);
    const auto check = [&](const char* what, const Tensor& left_out, const Of& f) {
      check_left_out(what, x, {left_out}, [f](std::span<const Tensor> v) { return square(f(v)); });
    };
    check("tril", above, [](std::span<const Tensor> v) { return tril(v[0]); });
    check("triu", logical_not(above), [](std::span<const Tensor> v) { return triu(v[0], 1); });
    check("masked_select", above,
          [=](std::span<const Tensor> v) { return masked_select(v[0], logical_not(above)); });
    check("pad", first, [](std::span<const Tensor> v) {
      return pad(v[0], {-1, 2}, PadMode::constant, 3);
    });
    check("pad by repetition", first, [](std::span<const Tensor> v) {
      return pad(v[0], {-1, 2}, PadMode::replicate);
    });
  }
}

// Long enough for whole vectors, blocks of queries and products of several tiles.
BOOST_AUTO_TEST_CASE(attention_in_blocks) {
  const int64_t n = 2, heads = 2, queries = 70, keys = 90, d = 24;
  for (DType dtype : {DType::f32, DType::f64}) {
    const std::vector<Tensor> inputs{raw::cast(sample({n, heads, queries, d}, 1), dtype),
                                     raw::cast(sample({n, heads, keys, d}, 2), dtype),
                                     raw::cast(sample({n, heads, keys, d}, 3), dtype)};
    const Tensor there = first_of({41, 87}, keys), gone = logical_not(there),
                 hidden = reshape(gone, {n, 1, keys, 1}),
                 rows = raw::contiguous(
                     raw::expand(reshape(there, {n, 1, 1, keys}), {n, heads, queries, keys}));
    const Tensor zero = zeros({}, dtype), barrier = full({}, -kInf, dtype);
    const auto check = [&](const std::string& what, AttentionOptions options) {
      check_left_out(what + name(dtype), inputs, {{}, hidden, hidden},
                     [=](std::span<const Tensor> x) {
                       return scaled_dot_product_attention(x[0], x[1], x[2], options);
                     });
    };
    check("padding ", {.key_padding = there});
    check("mask ", {.mask = rows});
    check("additive mask ", {.mask = where(rows, zero, barrier)});
    check("padding, causal ", {.key_padding = there, .causal = true});
    check_left_out("self_attention " + std::string(name(dtype)),
                   {raw::cast(sample({n, keys, 3 * heads * d}, 4), dtype)},
                   {reshape(gone, {n, keys, 1})}, [=](std::span<const Tensor> x) {
                     return self_attention(x[0], heads, {.key_padding = there});
                   });
  }
}

// A causal mask, or one of pairs, hides a key from some queries alone: those see nothing of it.
BOOST_AUTO_TEST_CASE(attention_of_some_queries) {
  const int64_t steps = 70, d = 16, first = 50;  // keys from `first` on hold what is tried
  const Tensor pairs =
      less_equal(reshape(arange(steps), {1, steps}), reshape(arange(steps), {steps, 1}));
  for (DType dtype : {DType::f32, DType::f64})
    for (const AttentionOptions& options :
         {AttentionOptions{.causal = true}, AttentionOptions{.mask = pairs}}) {
      std::vector<double> before;
      for (double value : {0.5, kNaN, kInf, 1e20}) {
        const Tensor late = greater_equal(reshape(arange(steps), {steps, 1}), first);
        std::vector<Tensor> x;
        for (uint64_t seed : {1, 2, 3})
          x.push_back(
              filled(raw::cast(sample({steps, d}, seed), dtype), late, value).set_requires_grad());
        Tape tape;
        const Tensor y = scaled_dot_product_attention(x[0], x[1], x[2], options);
        const Tensor dy = raw::cast(test::wave({steps, d}, 1, 0.3), dtype);
        std::vector<double> results;
        const auto add = [&](const Tensor& t) {
          for (double v : raw::clone(slice(t, 0, 0, first)).to_vector<double>())
            results.push_back(v);
        };
        add(y);
        for (CreateGraph create_graph : {CreateGraph::no, CreateGraph::yes})
          add(tape.gradient(y, x, {.create_graph = create_graph, .keep_graph = true, .dy = dy})[0]);
        if (before.empty()) before = results;
        BOOST_TEST((results == before), name(dtype) << " with " << value);
      }
    }
}

// A sequence without steps leaves out its first state, too.
BOOST_AUTO_TEST_CASE(recurrences_behind_their_lengths) {
  for (DType dtype : {DType::f32, DType::f64})
    for (CellKind kind : {CellKind::tanh, CellKind::relu, CellKind::lstm, CellKind::gru}) {
      const int64_t n = 5, t = 6, d = 3, h = 4, rows = gates_of(kind) * h;
      const Tensor valid = first_of({6, 2, 0, 4, 1}, t), none,
                   never = equal(reshape(arange(n), {n, 1}), 2);
      std::vector<Tensor> inputs{sample({n, t, d}, 1),        sample({rows, d}, 2, -1, 1),
                                 sample({rows, h}, 3, -1, 1), sample({rows}, 4),
                                 sample({n, h}, 5),           sample({n, h}, 6)};
      if (kind != CellKind::lstm) inputs.pop_back();
      for (Tensor& x : inputs) x = raw::cast(x, dtype);
      check_left_out("cell " + std::to_string(static_cast<int>(kind)) + name(dtype), inputs,
                     {unsqueeze(logical_not(valid), -1), {}, {}, {}, never, never},
                     [=](std::span<const Tensor> x) {
                       const CellState first(x[4], kind == CellKind::lstm ? x[5] : none);
                       return recurrence(kind, x[0], first, {x[1], x[2], x[3], none}, valid).y;
                     });
    }
}

namespace {

/// run() of a cell with weights as inputs: x, h, c, weight_ih, weight_hh.
template <class Cell, class Options>
void check_cell(const std::string& what, const Options& options, DType dtype, bool projected) {
  const int64_t n = 5, t = 4, d = 3, h = 4;
  const Tensor valid = first_of({4, 2, 0, 4, 1}, t), never = equal(reshape(arange(n), {n, 1}), 2);
  Cell cell(d, h, options);
  cell.initialize(1);
  cell.to(dtype);
  const bool lstm = std::is_same_v<Cell, LstmCell>;
  std::vector<Tensor> inputs{sample({n, t, projected ? cell.weight_ih.size(0) : d}, 1),
                             sample({n, h}, 2), sample({n, h}, 3),
                             sample(cell.weight_ih.shape(), 4), sample(cell.weight_hh.shape(), 5)};
  for (Tensor& x : inputs) x = raw::cast(x, dtype);
  check_left_out(what + (projected ? ", projected, " : ", ") + name(dtype), inputs,
                 {unsqueeze(logical_not(valid), -1), never, never, {}, {}},
                 [&](std::span<const Tensor> x) {
                   static_cast<Tensor&>(cell.weight_ih) = x[3];
                   static_cast<Tensor&>(cell.weight_hh) = x[4];
                   return cell.run(x[0], projected, {x[1], lstm ? x[2] : Tensor()}, valid).y;
                 });
}

}  // namespace

BOOST_AUTO_TEST_CASE(cells_behind_their_lengths) {
  const std::pair<const char*, MakeNorm> norms[] = {
      {"no norm", {}},
      {"NoNorm", [](int64_t) { return NoNorm(); }},
      {"NoNorm(relu)", [](int64_t) { return NoNorm(Activation::relu); }},
      {"LayerNorm", [](int64_t features) { return LayerNorm(features); }},
      {"RmsNorm", [](int64_t features) { return RmsNorm(features); }},
      {"BatchNorm", [](int64_t features) { return BatchNorm(features, {.channels_last = true}); }}};
  for (DType dtype : {DType::f32, DType::f64})
    for (const auto& [name, norm] : norms) {
      for (bool projected : {false, true})
        check_cell<RnnCell>(fmt::format("RnnCell, {}", name), RnnCellOptions{.norm = norm}, dtype,
                            projected);
      for (bool projected : {false, true}) {
        if (projected && norm) continue;
        const GatedCellOptions options{.norm = norm};
        check_cell<LstmCell>(fmt::format("LstmCell, {}", name), options, dtype, projected);
        check_cell<GruCell>(fmt::format("GruCell, {}", name), options, dtype, projected);
      }
    }
}

BOOST_AUTO_TEST_CASE(norms_and_losses) {
  const Tensor valid = first_of({7, 2, 5}, 7), gone = unsqueeze(logical_not(valid), -1);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const std::vector<Tensor> inputs{raw::cast(sample({3, 7, 19}, 1), dtype),
                                     raw::cast(sample({19}, 2, 0.5, 2), dtype),
                                     raw::cast(sample({19}, 3), dtype)};
    check_left_out("rms_norm", {inputs[0], inputs[1]}, {gone, {}}, [=](std::span<const Tensor> x) {
      return rms_norm(x[0], {19}, x[1], {.valid = valid});
    });
    for (const Activation activation : {Activation::none, Activation::relu}) {
      check_left_out("layer_norm", inputs, {gone, {}, {}}, [=](std::span<const Tensor> x) {
        return layer_norm(x[0], {19}, x[1], x[2], {.valid = valid, .activation = activation});
      });
      const BatchNormOptions options{
          .axis = ChannelAxis::last, .valid = valid, .activation = activation};
      check_left_out("batch_norm", inputs, {gone, {}, {}}, [=](std::span<const Tensor> x) {
        return batch_norm(x[0], x[1], x[2], options).y;
      });
      check_left_out("batch_norm_inference", inputs, {gone, {}, {}},
                     [=](std::span<const Tensor> x) {
                       const Tensor one = ones({19}, dtype);
                       return batch_norm_inference(x[0], one, one, x[1], x[2], options);
                     });
      const Tensor samples = Tensor::of({true, false, true}, DType::boolean);
      const std::vector<Tensor> images{raw::cast(sample({3, 6, 5}, 1), dtype),
                                       raw::cast(sample({6}, 2, 0.5, 2), dtype),
                                       raw::cast(sample({6}, 3), dtype)};
      check_left_out("group_norm", images, {reshape(logical_not(samples), {3, 1, 1}), {}, {}},
                     [=](std::span<const Tensor> x) {
                       return group_norm(x[0], 3, x[1], x[2],
                                         {.valid = samples, .activation = activation});
                     });
    }
  }
  const Tensor labels = Tensor::of({2, -100, 0, -100}, DType::i64);
  for (const DType dtype : {DType::f32, DType::f64})
    for (const double smoothing : {0.0, 0.2})
      for (const Reduction reduction : {Reduction::mean, Reduction::none})
        check_left_out("cross_entropy", {raw::cast(sample({4, 3}, 1), dtype)},
                       {reshape(equal(labels, -100), {4, 1})}, [=](std::span<const Tensor> x) {
                         return cross_entropy(
                             x[0], labels, {.label_smoothing = smoothing, .reduction = reduction});
                       });
}

BOOST_AUTO_TEST_CASE(losses_of_probabilities) {
  const Tensor labels = Tensor::of({2, -100, 0, -100}, DType::i64);
  for (const DType dtype : {DType::f32, DType::f64})
    for (const Reduction reduction : {Reduction::mean, Reduction::none}) {
      const Tensor x = raw::cast(sample({4, 3}, 1), dtype),
                   weight = raw::cast(Tensor::of({0.5, 1.0, 2.0}), dtype);
      for (const Tensor& w : {Tensor(), weight})
        check_left_out("nll_loss", {x}, {expand(reshape(equal(labels, -100), {4, 1}), {4, 3})},
                       [=](std::span<const Tensor> in) {
                         return nll_loss(in[0], labels, {.weight = w, .reduction = reduction});
                       });
      // Where the target has probability 0, what the other has there.
      const Tensor target = raw::cast(
          Tensor::of({{0.5, 0.0, 0.5}, {1.0, 0.0, 0.0}, {0.0, 0.0, 1.0}, {0.25, 0.25, 0.5}}),
          dtype);
      for (const bool log_target : {false, true})
        check_left_out("kl_div", {x}, {equal(target, 0)}, [=](std::span<const Tensor> in) {
          return kl_div(in[0], log_target ? log(target) : target,
                        {.log_target = log_target, .reduction = reduction});
        });
    }
}

// The weight of a class that no label names.
BOOST_AUTO_TEST_CASE(weights_of_other_classes) {
  const Tensor x = sample({4, 3}, 1), labels = Tensor::of({2, 1, 2, 1}, DType::i64);
  const auto results = [&](double other, Reduction reduction) {
    Tensor leaf = raw::clone(x).set_requires_grad();
    Tape tape;
    const Tensor loss = sum(cross_entropy(
        leaf, labels,
        {.weight = raw::cast(Tensor::of({other, 0.5, 2.0}), x.dtype()), .reduction = reduction}));
    const Tensor dx = tape.gradient(loss, leaf, {.create_graph = CreateGraph::yes});
    std::vector<double> all = tape.gradient(sum(dx * dx), leaf).to_vector<double>();
    for (double value : dx.to_vector<double>()) all.push_back(value);
    all.push_back(loss.item());
    return all;
  };
  for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
    for (const double other : {std::nan(""), HUGE_VAL, 1e30})
      BOOST_TEST(results(other, reduction) == results(1, reduction),
                 boost::test_tools::per_element());
}

namespace {

/// f(g(x)) for an f whose slope is infinite at 0: where g says 0, its gradient is 0.
std::vector<double> slope(const Tensor& x, const std::function<Tensor(const Tensor&)>& f) {
  Tensor leaf = raw::clone(x).set_requires_grad();
  Tape tape;
  return tape.gradient(sum(f(leaf)), leaf).to_vector<double>();
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_infinite_slope_behind_a_condition) {
  const Tensor row = Tensor::of({-1, -0.0, 0, -3}, DType::f64);
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = raw::cast(raw::clone(reshape(expand(row, {300, 4}), {1200})), dtype),
                 zero = zeros({1200}, dtype), w = eye(4, dtype), rows = raw::reshape(x, {300, 4});
    const auto none = [&](const std::string& what, const std::function<Tensor(const Tensor&)>& f,
                          const Tensor& of) {
      for (double dx : slope(of, f)) BOOST_TEST_REQUIRE(dx == 0, what << " " << name(dtype));
    };
    none(
        "relu", [](const Tensor& v) { return sqrt(relu(v)); }, x);
    none(
        "linear", [&](const Tensor& v) { return sqrt(linear(v, w, {}, Activation::relu)); }, rows);
    none(
        "where", [&](const Tensor& v) { return sqrt(where(greater(v, 0), v, zero)); }, x);
    none(
        "masked_fill", [&](const Tensor& v) { return sqrt(masked_fill(v, v <= 0, 0)); }, x);
    const Tensor below = x - 1;
    none(
        "clamp", [](const Tensor& v) { return sqrt(clamp(v, 0, 1)); }, below);
    none(
        "maximum", [&](const Tensor& v) { return sqrt(maximum(v, zero)); }, below);
    none(
        "maximum", [&](const Tensor& v) { return sqrt(maximum(zero, v)); }, below);
    none(
        "minimum", [&](const Tensor& v) { return sqrt(minimum(zero, v)); }, -below);
    none(
        "max",
        [&](const Tensor& v) {
          return sqrt(max(concat({v, zeros({1}, dtype)})));
        },
        below);
    none(
        "min",
        [&](const Tensor& v) {
          return sqrt(min(concat({v, zeros({1}, dtype)})));
        },
        -below);
    none(
        "abs", [](const Tensor& v) { return sqrt(abs(v)); }, zero);
    none(
        "pow", [](const Tensor& v) { return pow(pow(v, 0) - 1, 0.5); }, x);
    none(
        "max_pool2d",
        [](const Tensor& v) {
          const Tensor image =
              concat({reshape(v, {1, 1, 1, 1200}), zeros_like(reshape(v, {1, 1, 1, 1200}))}, 2);
          return sqrt(max_pool2d(image, {2, 1}));
        },
        below);
    none(
        "gather",
        [&](const Tensor& v) {
          return sqrt(gather(concat({zeros({1}, dtype), v}), 0, zeros({5}, DType::i64)));
        },
        x);
    none(
        "index_select",
        [&](const Tensor& v) {
          return sqrt(index_select(concat({zeros({1}, dtype), v}), 0, zeros({5}, DType::i64)));
        },
        x);
  }
}

// As PyTorch: what is NaN is not left out.
BOOST_AUTO_TEST_CASE(nan_passes_a_condition) {
  const Tensor x = Tensor::of({kNaN, -2, 3}, DType::f64), y = Tensor::of({1, kNaN, 4}, DType::f64);
  using Values = std::vector<double>;
  BOOST_TEST(slope(x, [](const Tensor& v) { return relu(v); }) == (Values{1, 0, 1}));
  BOOST_TEST(slope(x, [](const Tensor& v) { return clamp(v, -1, 5); }) == (Values{1, 0, 1}));
  BOOST_TEST(slope(x, [&](const Tensor& v) { return maximum(v, y); }) == (Values{1, 1, 0}));
  BOOST_TEST(slope(x, [&](const Tensor& v) { return minimum(y, v); }) == (Values{1, 1, 1}));
  BOOST_TEST(slope(x, [](const Tensor& v) { return max(v); }) == (Values{1, 0, 0}));
  BOOST_TEST(slope(x, [](const Tensor& v) { return min(v); }) == (Values{1, 0, 0}));
  BOOST_TEST(slope(x, [](const Tensor& v) { return abs(v); }) == (Values{0, -1, 1}));
  BOOST_TEST(slope(x, [](const Tensor& v) {
               return linear(reshape(v, {3, 1}), ones({1, 1}, DType::f64), {}, Activation::relu);
             }) == (Values{1, 0, 1}));
}

// A channel whose dy is 0 where the mask lets it through: the zeros of dx keep their signs.
BOOST_AUTO_TEST_CASE(zeros_beside_a_hidden_gradient) {
  const Tensor valid = raw::cast(Tensor::of({1, 1, 0, 1, 1}, DType::i64), DType::boolean);
  for (DType dtype : {DType::f32, DType::f64})
    for (ChannelAxis axis : {ChannelAxis::second, ChannelAxis::last}) {
      const bool last = axis == ChannelAxis::last;
      const Shape shape = last ? Shape{1, 5, 3} : Shape{1, 3, 5};
      Tensor x = raw::cast(test::wave(shape, 1.3, 0.2, 0.7), dtype);
      x.set_requires_grad();
      std::vector<double> before;
      for (double hidden : {0.0, 5.0, -5.0, kNaN, kInf, 1e30}) {
        Tensor dy = zeros(shape, dtype);
        dy = masked_fill(
            dy,
            raw::contiguous(raw::expand(
                reshape(logical_not(valid), last ? Shape{1, 5, 1} : Shape{1, 1, 5}), shape)),
            hidden);
        Tape tape;
        const Tensor y = batch_norm(x, {}, {}, {.axis = axis, .valid = reshape(valid, {1, 5})}).y;
        const auto dx = tape.gradient(y, x, {.dy = dy}).to_vector<double>();
        if (before.empty()) before = dx;
        for (size_t i = 0; i < dx.size(); ++i)
          BOOST_TEST(same(dx[i], before[i]),
                     hidden << " makes dx " << dx[i] << ", not " << before[i]);
      }
    }
}

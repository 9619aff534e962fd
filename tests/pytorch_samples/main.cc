// pytorch_samples FOLDER [NAME...]: PyTorch's sample inputs, which dump.py wrote, through what
// Gradus has for them. Prints for each name how many were tried, passed, were refused and differ,
// and why.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/pytorch_samples/sample.h"

using namespace gradus;
using namespace gradus::samples;

namespace {

/// How far results may lie apart: PyTorch's own are rounded, too.
double allowed(DType dtype) { return dtype == DType::f32 ? 0x1p-14 : 0x1p-36; }

std::vector<double> values(const Tensor& x) {
  return raw::cast(raw::contiguous(x), DType::f64).to_vector<double>();
}

/// "" if they are the same, else where they are not.
std::string difference(const std::string& what, const Tensor& ours, const Tensor& theirs,
                       DType dtype) {
  if (ours.shape() != theirs.shape())
    return fmt::format("{}: shape {} for {}", what, str(ours.shape()), str(theirs.shape()));
  if (ours.dtype() != theirs.dtype())
    return fmt::format("{}: {} for {}", what, name(ours.dtype()), name(theirs.dtype()));
  const std::vector<double> a = values(ours), b = values(theirs);
  double largest = 0;
  for (const double v : b)
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  const double near = ours.dtype() == DType::i64 || ours.dtype() == DType::boolean
                          ? 0
                          : allowed(dtype) * std::max(largest, 1e-30);
  for (size_t i = 0; i < a.size(); ++i) {
    const bool same = std::isnan(b[i])   ? std::isnan(a[i])
                      : std::isinf(b[i]) ? a[i] == b[i]
                                         : std::fabs(a[i] - b[i]) <= near;
    if (!same) return fmt::format("{}: element {} is {} for {}", what, i, a[i], b[i]);
  }
  return "";
}

Tensor sum_of_products(const TensorList& ys, const TensorList& weights) {
  Tensor total;
  for (size_t i = 0; i < ys.size(); ++i) {
    if (!weights[i]) continue;
    const Tensor part = sum(ys[i] * weights[i]);
    total = total ? total + part : part;
  }
  return total;
}

/// The values, gradients and gradients' gradients of a sample; "" if all are PyTorch's.
std::string outcome(Sample& sample, const Call& call) {
  const Json& expected = sample.json();
  Tape tape;
  const TensorList ys = call(sample);
  if (const std::string rest = sample.unasked(); !rest.empty())
    throw Refused("it has no counterpart of" + rest);
  const Json& wanted = expected["y"];
  if (!wanted.is_array()) {  // a number or a truth
    if (ys.size() != 1) return "y: several results for one";
    const double theirs = wanted.is_boolean() ? wanted.get<bool>() : wanted.get<double>();
    return values(ys[0])[0] == theirs ? "" : fmt::format("y: not {}", theirs);
  }
  if (ys.size() != wanted.size())
    return fmt::format("y: {} results for {}", ys.size(), wanted.size());
  for (size_t i = 0; i < ys.size(); ++i)
    if (auto text =
            difference(fmt::format("y{}", i), ys[i], sample.decoded(wanted[i]), sample.dtype());
        !text.empty())
      return text;
  if (!expected.contains("dy")) return "";
  TensorList floating, dys;
  for (const Tensor& y : ys)
    if (is_floating(y.dtype())) floating.push_back(y);
  for (const Json& dy : expected["dy"]) dys.push_back(sample.decoded(dy));
  if (floating.size() < dys.size()) return "y: fewer floating results";
  floating.resize(dys.size());
  const std::vector<Tensor>& leaves = sample.leaves();
  const bool second = expected.contains("ddx");
  const auto compare = [&](const char* what, const std::vector<Tensor>& ours, const Json& theirs) {
    for (size_t i = 0; i < theirs.size() && i < ours.size(); ++i) {
      if (theirs[i].is_null()) continue;
      const Tensor other = sample.decoded(theirs[i]);
      const Tensor own = ours[i] ? ours[i] : zeros(other.shape(), other.dtype());
      if (auto text = difference(fmt::format("{}{}", what, i), own, other, sample.dtype());
          !text.empty())
        return text;
    }
    return std::string();
  };
  const std::vector<Tensor> dxs = tape.gradient(
      sum_of_products(floating, dys), leaves,
      {.create_graph = second ? CreateGraph::yes : CreateGraph::no, .allow_unused = true});
  if (auto text = compare("dx", dxs, expected["dx"]); !text.empty() || !second) return text;
  TensorList found, vs;
  for (size_t i = 0; i < dxs.size() && i < expected["v"].size(); ++i)
    if (dxs[i] && !expected["v"][i].is_null()) {
      found.push_back(dxs[i]);
      vs.push_back(sample.decoded(expected["v"][i]));
    }
  if (found.empty()) return "";
  return compare("ddx", tape.gradient(sum_of_products(found, vs), leaves, {.allow_unused = true}),
                 expected["ddx"]);
}

struct Counts {
  size_t tried = 0, passed = 0, refused = 0, differs = 0;
  size_t mixed = 0, integers = 0;     // refused for dtypes: several, or one that the op is not for
  std::map<std::string, size_t> why;  // refusals and differences, the first words of each
};

/// Without the numbers of one sample.
std::string kind(std::string text) {
  std::string short_text;
  for (const char c : text.substr(0, 110))
    if (!std::isdigit(static_cast<unsigned char>(c))) short_text += c;
  return short_text;
}

Counts run(const std::filesystem::path& file, const Call* call) {
  std::ifstream in(file);
  const Json samples = Json::parse(in);
  std::map<std::string, Tensor> tensors;
  for (const auto& [key, x] :
       load_tensors(std::filesystem::path(file).replace_extension("safetensors")))
    tensors.emplace(key, x);
  Counts counts;
  for (const Json& json : samples) {
    ++counts.tried;
    std::string why;
    bool refused = false;
    try {
      Sample sample(json, tensors);
      if (!call) throw Refused("it is not here");
      why = outcome(sample, *call);
    } catch (const Refused& error) {
      refused = true;
      why = error.what();
    } catch (const Error& error) {
      refused = true;
      why = error.what();
    }
    if (why.empty()) {
      ++counts.passed;
      continue;
    }
    const bool mixed = refused && json.value("mixed", false) && why.find("dtype") != why.npos;
    const bool integers = refused && why.find("needs f32 or f64, got") != why.npos;
    size_t& count = !refused   ? counts.differs
                    : mixed    ? counts.mixed
                    : integers ? counts.integers
                               : counts.refused;
    ++count;
    const char* const what = !refused   ? "differs"
                             : mixed    ? "mixed dtypes"
                             : integers ? "integers"
                                        : "refused";
    ++counts.why[fmt::format("  {}: {}", what, kind(why))];
  }
  return counts;
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(2);
  std::vector<std::string> names(argv + 2, argv + argc);
  if (names.empty()) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[1]))
      if (entry.path().extension() == ".json") names.push_back(entry.path().stem());
    std::sort(names.begin(), names.end());
  }
  Counts all;
  for (const std::string& name : names) {
    const auto& calls = name.starts_with("nn.") && !name.starts_with("nn.functional.")
                            ? module_calls()
                            : op_calls();
    const auto found = calls.find(name);
    const Counts counts = run(std::filesystem::path(argv[1]) / (name + ".json"),
                              found == calls.end() ? nullptr : &found->second);
    std::printf("%s: tried %zu passed %zu refused %zu mixed %zu integers %zu differs %zu\n",
                name.c_str(), counts.tried, counts.passed, counts.refused, counts.mixed,
                counts.integers, counts.differs);
    for (const auto& [why, times] : counts.why) std::printf("%s (%zu)\n", why.c_str(), times);
    std::fflush(stdout);
    all.tried += counts.tried, all.passed += counts.passed, all.refused += counts.refused;
    all.mixed += counts.mixed, all.integers += counts.integers, all.differs += counts.differs;
  }
  std::printf("all: tried %zu passed %zu refused %zu mixed dtypes %zu integers %zu differs %zu\n",
              all.tried, all.passed, all.refused, all.mixed, all.integers, all.differs);
}

#include <gradus/gradcheck/detail/checker.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace gradus::checking {

namespace {

constexpr int64_t kAllEntries = 4096;  // of a tensor that is looked at entry by entry
constexpr int64_t kSamples = 64;       // of a larger one
constexpr int64_t kBoxes = 400;        // that are looked into in a search
constexpr size_t kFound = 32;          // wrong entries, after which it ends

/// Entries [low, high) along each axis.
struct Box {
  Shape low, high;

  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < low.ndim(); ++i) n *= high[i] - low[i];
    return n;
  }
  /// Its entries' places in a tensor of this shape, row-major.
  std::vector<int64_t> entries(const Shape& shape) const {
    std::vector<int64_t> entries{0};
    for (int i = 0; i < shape.ndim(); ++i) {
      std::vector<int64_t> longer;
      for (int64_t k : entries)
        for (int64_t at = low[i]; at < high[i]; ++at) longer.push_back(k * shape[i] + at);
      entries = std::move(longer);
    }
    return entries;
  }
  /// Its lower or upper half along its longest axis.
  Box half(bool upper) const {
    int longest = 0;
    for (int i = 1; i < low.ndim(); ++i)
      if (high[i] - low[i] > high[longest] - low[longest]) longest = i;
    Box half = *this;
    (upper ? half.low : half.high)[longest] = (low[longest] + high[longest]) / 2;
    return half;
  }
};

}  // namespace

/// Up to 64 output elements, the first and the last among them, and the weighted sums.
JacobianRowSet Checker::some_rows() const {
  JacobianRowSet rows = random_rows();
  const int64_t n = y_.numel(), count = std::min<int64_t>(n, 64);
  for (int64_t i = 0; i < count; ++i)
    rows.elements.push_back(count < 2 ? 0 : i * (n - 1) / (count - 1));
  return rows;
}

bool Checker::can_look_at_all(size_t input) const {
  const int64_t n = inputs_[input].numel();
  return n <= kAllEntries && 8 * static_cast<double>(n) * evaluation_seconds_ <= options_.seconds;
}

void Checker::localize() {
  const JacobianRowSet rows = some_rows();
  std::vector<JacobianBlock> blocks;
  for (GradcheckInput& found : report_.inputs) {
    const size_t i = static_cast<size_t>(found.input);
    if (found.counts.disagree == 0) continue;
    if (can_look_at_all(i))
      blocks.push_back(whole_block(i, rows.size()));
    else
      find_in_large(found);
  }
  if (blocks.empty()) return;
  fill_analytic(rows, blocks);
  start_rows(rows);
  std::vector<GradcheckInput> judged;
  for (JacobianBlock& block : blocks) {
    fill_entries(rows, block);
    judged.push_back(judge(block, rows, inputs_[block.input], scale()));
  }
  find_swapped_inputs(blocks, rows.size(), inputs_, judged);
  for (GradcheckInput& entries : judged) {
    GradcheckInput& found = report_.inputs[static_cast<size_t>(entries.input)];
    found.where = entries.wrong.empty() ? "no single entry stands out" : entries.where;
    if (!entries.wrong.empty()) found.worst = entries.worst;
    found.wrong = std::move(entries.wrong);
    found.diagnosis = std::move(entries.diagnosis);
  }
}

GradcheckInput Checker::judge_entries(const JacobianRowSet& rows, size_t input,
                                      std::vector<int64_t> entries) {
  std::vector<JacobianBlock> blocks(1);
  blocks[0].input = input;
  blocks[0].entries = std::move(entries);
  blocks[0].resize(rows.size(), blocks[0].entries.size());
  fill_analytic(rows, blocks);
  start_rows(rows);
  fill_entries(rows, blocks[0]);
  return judge(blocks[0], rows, inputs_[input], scale());
}

/// In a tensor too large to look at each entry: some at random and, where few of those are wrong,
/// bisection along its axes.
void Checker::find_in_large(GradcheckInput& found) {
  const size_t i = static_cast<size_t>(found.input);
  const Tensor& x = inputs_[i];
  const JacobianRowSet rows = random_rows();
  Generator generator(options_.seed, "search");
  std::vector<int64_t> sampled = randperm(x.numel(), generator).to_vector<int64_t>();
  sampled.resize(static_cast<size_t>(std::min(kSamples, x.numel())));
  std::sort(sampled.begin(), sampled.end());
  GradcheckInput judged = judge_entries(rows, i, sampled);
  const bool many = static_cast<int64_t>(judged.wrong.size()) >= kSamples / 8;
  if (many) {
    found.where = fmt::format("{} of {} entries looked at, of {}", judged.wrong.size(),
                              sampled.size(), x.numel());
  } else {
    int64_t looked = 0;
    bool complete = false;
    const std::vector<int64_t> single = bisect(i, rows, looked, complete);
    judged = single.empty() ? GradcheckInput() : judge_entries(rows, i, single);
    found.where = judged.wrong.empty()
                      ? fmt::format("no single entry found in {} directions", looked)
                      : fmt::format("{}; {}{} of {}", describe_entries(x.shape(), judged.wrong),
                                    complete ? "" : "at least ", judged.wrong.size(), x.numel());
  }
  if (!judged.wrong.empty()) found.worst = judged.worst;
  found.wrong = std::move(judged.wrong);
  found.diagnosis = std::move(judged.diagnosis);
}

/// Halves the tensor along its longest axis again and again, and follows the halves in which a
/// random direction disagrees.
std::vector<int64_t> Checker::bisect(size_t input, const JacobianRowSet& rows, int64_t& looked,
                                     bool& complete) {
  const Tensor& x = inputs_[input];
  std::vector<JacobianBlock> whole{whole_block(input, rows.size())};
  fill_analytic(rows, whole);
  start_rows(rows);
  Generator generator(options_.seed, "bisection");
  const auto disagrees = [&](const Box& box) {
    const std::vector<int64_t> entries = box.entries(x.shape());
    const std::vector<double> part =
        random_direction(static_cast<int64_t>(entries.size()), generator);
    std::vector<double> v(static_cast<size_t>(x.numel()));
    JacobianBlock block;
    block.input = input;
    block.resize(rows.size(), 1);
    for (size_t i = 0; i < entries.size(); ++i) {
      const size_t k = static_cast<size_t>(entries[i]);
      v[k] = part[i];
      for (size_t r = 0; r < rows.size(); ++r)
        block.analytic[r] += whole[0].analytic[r * v.size() + k] * v[k];
    }
    fill_directions(rows, block, std::span(&v, 1));
    return judge(block, rows, x, scale()).counts.disagree > 0;
  };
  Box all{x.shape(), x.shape()};
  for (int axis = 0; axis < x.ndim(); ++axis) all.low[axis] = 0;
  std::vector<Box> open{all};
  std::vector<int64_t> found;
  while (!open.empty() && looked < kBoxes && found.size() < kFound) {
    const Box box = open.back();
    open.pop_back();
    if (box.numel() == 1) {
      found.push_back(box.entries(x.shape())[0]);
      continue;
    }
    for (const bool upper : {true, false}) {
      ++looked;
      if (disagrees(box.half(upper))) open.push_back(box.half(upper));
    }
  }
  complete = open.empty();
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace gradus::checking

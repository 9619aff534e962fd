#include <fmt/format.h>
#include <gradus/base/detail/json.h>
#include <gradus/gradcheck/detail/judge.h>

#include <iterator>
#include <ostream>

namespace gradus {

const char* name(Verdict verdict) {
  switch (verdict) {
    case Verdict::agrees:
      return "agrees";
    case Verdict::disagrees:
      return "disagrees";
    case Verdict::unresolved:
      return "unresolved";
    case Verdict::kink:
      return "at a kink";
  }
  return "";
}

const char* name(GradcheckMode mode) {
  switch (mode) {
    case GradcheckMode::automatic:
      return "automatic";
    case GradcheckMode::full:
      return "full";
    case GradcheckMode::projected:
      return "projected";
  }
  return "";
}

namespace {

const char* order_name(int order) {
  return order == 1 ? "first" : order == 2 ? "second" : "higher";
}

std::string title(const GradcheckReport& r) {
  return fmt::format("{}{}{} order", r.subject, r.subject.empty() ? "" : ", ", order_name(r.order));
}

/// "[1, 2] for output [0, 3]", what a worst entry is.
std::string place(const GradcheckEntry& e) {
  std::string text = e.index.ndim() == 0 ? std::string() : fmt::format("{}", e.index);
  if (e.output.ndim() > 0)
    text += fmt::format("{}of output {}", text.empty() ? "" : ", ", e.output);
  return text.empty() ? text : text + ": ";
}

}  // namespace

std::string checking::reproduction(const GradcheckOptions& options, const GradcheckReport& report) {
  if (!options.reproduce.empty()) return options.reproduce;
  const GradcheckOptions usual;
  std::string set;
  if (options.resolution != usual.resolution)
    set += fmt::format(".resolution = {}, ", options.resolution);
  if (options.safety != usual.safety) set += fmt::format(".safety = {}, ", options.safety);
  set += fmt::format(".seed = {}, .mode = GradcheckMode::{}", options.seed, name(report.mode));
  if (options.probes != usual.probes) set += fmt::format(", .probes = {}", options.probes);
  return fmt::format("{}(f, inputs, {{{}}})", report.order == 2 ? "gradgradcheck" : "gradcheck",
                     set);
}

std::string GradcheckReport::text() const {
  if (!ok()) return table();
  std::string text = subject.empty() ? "" : subject + ": ";
  text += fmt::format("{} {} agree", agreeing,
                      mode == GradcheckMode::projected ? "directions" : "entries");
  if (unresolved > 0) text += fmt::format(", {} unresolved", unresolved);
  if (kinks > 0) text += fmt::format(", {} at a kink", kinks);
  text += fmt::format(", largest error {:.1e}", largest_error);
  for (const std::string& warning : warnings) text += "\nwarning: " + warning;
  return text;
}

std::string GradcheckReport::table() const {
  std::string text;
  auto out = std::back_inserter(text);
  const bool untold = faults.empty() && disagreeing == 0 && !ok();
  fmt::format_to(out, "{}: {}\n", title(*this), ok() ? "ok" : untold ? "NOTHING TOLD" : "FAILED");
  if (!method.empty()) fmt::format_to(out, "{}\n", method);
  if (!inputs.empty()) {
    size_t names = 5, shapes = 5;
    for (const GradcheckInput& in : inputs) {
      names = std::max(names, in.name.size());
      shapes = std::max(shapes, str(in.shape).size());
    }
    fmt::format_to(out, "  {:<{}}  {:<{}} {:>7} {:>9} {:>10} {:>7}  largest error\n", "input",
                   names, "shape", shapes, "agree", "disagree", "unresolved", "kink");
    for (const GradcheckInput& in : inputs)
      fmt::format_to(out, "  {:<{}}  {:<{}} {:>7} {:>9} {:>10} {:>7}  {:.1e}\n", in.name, names,
                     str(in.shape), shapes, in.counts.agree, in.counts.disagree,
                     in.counts.unresolved, in.counts.kink, in.largest_error);
  }
  for (const GradcheckInput& in : inputs) {
    if (in.counts.disagree == 0) continue;
    fmt::format_to(out, "{} {}: {}\n  worst {}analytic {:.12g}, numeric {:.12g} +- {:.1e}\n",
                   in.name, in.shape, in.where.empty() ? "disagrees" : in.where, place(in.worst),
                   in.worst.analytic, in.worst.numeric, in.worst.bound);
    if (!in.diagnosis.text.empty()) fmt::format_to(out, "  looks like {}\n", in.diagnosis.text);
  }
  if (!suspects.empty())
    fmt::format_to(out, "of the ops in it these fail their own samples: {}\n",
                   fmt::join(suspects, ", "));
  for (const std::string& fault : faults) fmt::format_to(out, "fault: {}\n", fault);
  if (untold)
    fmt::format_to(out, "fault: {}\n",
                   entries == 0
                       ? "nothing was compared"
                       : "no entry could be told: the numeric derivatives are too uncertain");
  for (const std::string& warning : warnings) fmt::format_to(out, "warning: {}\n", warning);
  if (miss_size > 0)
    fmt::format_to(out,
                   "an error of {:.0e} of an input's Jacobian goes unnoticed with probability "
                   "{:.0e}\n",
                   miss_size, miss_probability);
  fmt::format_to(out, "{} evaluations, {} sweeps, {:.3g} s\nagain: {}", evaluations, sweeps,
                 seconds, reproduce);
  return text;
}

std::string to_json(const GradcheckReport& report) {
  using detail::JsonList;
  JsonList inputs('[');
  for (const GradcheckInput& in : report.inputs) {
    JsonList entry('{');
    entry.add("name", in.name)
        .add("shape", in.shape)
        .add("agree", in.counts.agree)
        .add("disagree", in.counts.disagree)
        .add("unresolved", in.counts.unresolved)
        .add("kink", in.counts.kink)
        .add("largest_error", in.largest_error);
    if (in.counts.disagree > 0)
      entry.add("where", in.where)
          .add("wrong", in.wrong)
          .add("pattern", name(in.diagnosis.pattern))
          .add("diagnosis", in.diagnosis.text)
          .add("worst", JsonList('{')
                            .add("index", in.worst.index)
                            .add("output", in.worst.output)
                            .add("analytic", in.worst.analytic)
                            .add("numeric", in.worst.numeric)
                            .add("bound", in.worst.bound));
    inputs.add(entry.text());
  }
  JsonList all('{');
  all.add("subject", report.subject)
      .add("ok", report.ok())
      .add("order", report.order)
      .add("mode", name(report.mode))
      .add("method", report.method)
      .add("entries", report.entries)
      .add("agree", report.agreeing)
      .add("disagree", report.disagreeing)
      .add("unresolved", report.unresolved)
      .add("kink", report.kinks)
      .add("largest_error", report.largest_error)
      .add("inputs", inputs)
      .add("faults", report.faults)
      .add("warnings", report.warnings)
      .add("suspects", report.suspects)
      .add("evaluations", report.evaluations)
      .add("sweeps", report.sweeps)
      .add("seconds", report.seconds)
      .add("reproduce", report.reproduce);
  if (report.miss_size > 0)
    all.add(
        "miss",
        JsonList('{').add("size", report.miss_size).add("probability", report.miss_probability));
  return all.text();
}

std::ostream& operator<<(std::ostream& out, const GradcheckReport& report) {
  return out << report.table();
}

}  // namespace gradus

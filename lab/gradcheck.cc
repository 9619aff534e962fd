#include "lab/gradcheck.h"

#include <fmt/format.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/gradcheck/module.h>
#include <gradus/gradcheck/samples.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "lab/compare_models.h"

namespace gradus::lab {

bool Checked::ok() const {
  return std::all_of(reports.begin(), reports.end(), [](const auto& r) { return r.ok(); });
}

int64_t Checked::entries() const {
  int64_t total = 0;
  for (const GradcheckReport& report : reports) total += report.entries;
  return total;
}

double Checked::largest_error(int order) const {
  double largest = 0;
  for (const GradcheckReport& report : reports)
    if (report.order == order) largest = std::max(largest, report.largest_error);
  return largest;
}

namespace {

GradcheckOptions options_for(const GradcheckSettings& settings, std::string subject) {
  GradcheckOptions options;
  options.seed = settings.seed;
  options.mode = settings.mode;
  options.subject = std::move(subject);
  return options;
}

/// Calls check(order) for each order; an error becomes a report that fails.
template <class Check>
void add_reports(Checked& checked, const GradcheckSettings& settings, const std::string& subject,
                 const std::string& arguments, Check check_order) {
  for (int order : settings.orders) {
    GradcheckReport report;
    try {
      report = check_order(order);
    } catch (const std::exception& error) {
      report.subject = subject;
      report.order = order;
      report.mode = settings.mode;
      report.faults.push_back(error.what());
    }
    report.reproduce = fmt::format("gradus gradcheck {} --order {} --seed {} --mode {}", arguments,
                                   order, settings.seed, name(report.mode));
    checked.reports.push_back(std::move(report));
  }
}

Checked check_op(const Op& op, const GradcheckSettings& settings) {
  Checked checked{op.name, "op", 0, {}};
  for (const OpSample& sample : op_samples(op.name)) {
    ++checked.samples;
    const GradcheckOptions options = options_for(settings, checked.name + " " + sample.label);
    add_reports(checked, settings, options.subject, checked.name, [&](int order) {
      return order == 1 ? gradcheck(sample.f, sample.inputs, options)
                        : gradgradcheck(sample.f, sample.inputs, options);
    });
  }
  return checked;
}

Checked check_module(const ModuleSamples& row, const GradcheckSettings& settings) {
  Checked checked{row.name, "module", 0, {}};
  for (const ModuleSample& sample : row.make()) {
    ++checked.samples;
    const GradcheckOptions options = options_for(settings, checked.name + ", " + sample.label);
    add_reports(checked, settings, options.subject, checked.name, [&](int order) {
      return order == 1 ? gradcheck(*sample.module, sample.forward, sample.inputs, options)
                        : gradgradcheck(*sample.module, sample.forward, sample.inputs, options);
    });
  }
  return checked;
}

}  // namespace

std::vector<Checked> check_samples(
    const GradcheckSettings& settings,
    const std::function<void(size_t, size_t, const std::string&)>& before) {
  std::vector<std::string> unknown = settings.names;
  const auto wanted = [&](const std::string& name) {
    std::erase(unknown, name);
    return settings.names.empty() ||
           std::find(settings.names.begin(), settings.names.end(), name) != settings.names.end();
  };
  std::vector<std::pair<std::string, std::function<Checked()>>> jobs;
  for (const Op* op : all_ops())
    if (wanted(op->name) && !op_samples(op->name).empty())
      jobs.emplace_back(op->name, [op, &settings] { return check_op(*op, settings); });
  for (const ModuleSamples* row : all_module_samples())
    if (wanted(row->name))
      jobs.emplace_back(row->name, [row, &settings] { return check_module(*row, settings); });
  check(unknown.empty(), "gradcheck: there is no op and no module '{}'",
        unknown.empty() ? "" : unknown[0]);
  check(!jobs.empty(), "gradcheck: {} has no samples; the second order of other ops checks it",
        fmt::join(settings.names, ", "));
  std::vector<Checked> checked;
  for (const auto& [name, job] : jobs) {
    before(checked.size() + 1, jobs.size(), name);
    checked.push_back(job());
  }
  return checked;
}

Checked check_model(const ModelSettings& model_settings, const GradcheckSettings& settings) {
  Split data = train_test_split(digits(), 0.2, settings.seed);
  standardize(data);
  const Dataset batch = data.test[arange(8)];
  AnyModule model =
      find_model(model_settings.model).make(norm_from(model_settings.norm), data.train);
  model->initialize(settings.seed);
  if (!model_settings.weights.empty()) model->load(model_settings.weights);
  Checked checked{model_settings.model, "model", 1, {}};
  GradcheckSettings first = settings;
  first.orders = {1};
  const GradcheckOptions options = options_for(
      settings, fmt::format("{} with norm {}{}{}", model_settings.model, model_settings.norm,
                            model_settings.weights.empty() ? "" : ", ", model_settings.weights));
  std::string arguments =
      fmt::format("--model {} --norm {}", model_settings.model, model_settings.norm);
  if (!model_settings.weights.empty()) arguments += " --weights " + model_settings.weights;
  const Function loss = [&](std::span<const Tensor> x) {
    return cross_entropy(model(x[0]), batch.y);
  };
  add_reports(checked, first, options.subject, arguments,
              [&](int) { return gradcheck(*model, loss, std::span(&batch.x, 1), options); });
  return checked;
}

std::string gradcheck_table(const std::vector<Checked>& checked) {
  size_t width = 4;
  for (const Checked& c : checked) width = std::max(width, c.name.size());
  std::string text = fmt::format("{:<{}}  {:<6} {:>7} {:>7} {:>12} {:>13}\n", "name", width, "kind",
                                 "samples", "entries", "first order", "second order");
  int64_t entries = 0, failed = 0, kinks = 0;
  double seconds = 0;
  for (const Checked& c : checked) {
    const auto error = [&](int order) {
      const bool any = std::any_of(c.reports.begin(), c.reports.end(),
                                   [&](const auto& r) { return r.order == order; });
      return any ? fmt::format("{:.1e}", c.largest_error(order)) : std::string("-");
    };
    text += fmt::format("{:<{}}  {:<6} {:>7} {:>7} {:>12} {:>13}{}\n", c.name, width, c.kind,
                        c.samples, c.entries(), error(1), error(2), c.ok() ? "" : "  FAILED");
    entries += c.entries();
    failed += !c.ok();
    for (const GradcheckReport& report : c.reports) {
      kinks += report.kinks;
      seconds += report.seconds;
    }
  }
  for (const Checked& c : checked) {
    std::set<std::string> warnings;
    for (const GradcheckReport& report : c.reports) {
      if (!report.ok()) text += fmt::format("\n{}\n", report);
      warnings.insert(report.warnings.begin(), report.warnings.end());
    }
    if (!warnings.empty())
      text += fmt::format("{}: warning: {}{}\n", c.name, *warnings.begin(),
                          warnings.size() > 1 ? fmt::format("; {} more", warnings.size() - 1) : "");
  }
  return text + fmt::format("\n{} checked, {} failed; {} entries, {} at a kink; {:.1f} s",
                            checked.size(), failed, entries, kinks, seconds);
}

nlohmann::ordered_json to_json(const std::vector<Checked>& checked) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Checked& c : checked) {
    nlohmann::ordered_json reports = nlohmann::ordered_json::array();
    for (const GradcheckReport& report : c.reports)
      reports.push_back(nlohmann::ordered_json::parse(gradus::to_json(report)));
    json.push_back({{"name", c.name},
                    {"kind", c.kind},
                    {"ok", c.ok()},
                    {"samples", c.samples},
                    {"entries", c.entries()},
                    {"reports", std::move(reports)}});
  }
  return json;
}

}  // namespace gradus::lab

#include "lab/page/page.h"

#include <fmt/ranges.h>
#include <gradus/base/file.h>
#include <gradus/version.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <ostream>
#include <set>

#include "lab/command.h"
#include "lab/json_text.h"
#include "lab/page/contents.h"
#include "lab/page/figure.h"
#include "lab/page/microscope.h"
#include "lab/page/references.h"
#include "lab/study/pilot.h"
#include "lab/study/tuning.h"

namespace gradus {
// lab/page/page.css and microscope.js, embedded by the build.
extern const unsigned char page_css[], microscope_js[];
extern const size_t page_css_size, microscope_js_size;
}  // namespace gradus

namespace gradus::lab {

namespace {

std::string embedded(const unsigned char* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

/// <TAG ATTRIBUTES>TEXT</TAG>, the text escaped.
std::string element(const char* tag, const std::string& text, const std::string& attributes = "") {
  return fmt::format("<{}{}{}>{}</{}>\n", tag, attributes.empty() ? "" : " ", attributes,
                     escaped(text), tag);
}

/// What a page is made of.
struct Source {
  const std::string& folder;
  const StudyOptions& options;
  const LabResult& result;
  std::vector<std::string> failures = {};  ///< of figures

  const Finding* finding(std::string_view endpoint) const {
    for (const Finding& f : result.findings)
      if (f.endpoint->name == endpoint) return &f;
    return nullptr;
  }
  const Rows* rows(std::string_view experiment) const {
    for (const auto& [name, rows] : result.experiments)
      if (name == experiment) return &rows;
    return nullptr;
  }
};

std::string badge(const std::string& kind, const std::string& text) {
  return fmt::format("<span class=\"badge {}\">{}</span>", kind, escaped(text));
}

/// `weakest`: of several that differ.
std::string badge_of(Verdict verdict, bool weakest = false) {
  const std::string text = name(verdict);
  return badge(replace_all(text, "shown with limits", "shown"),
               verdict == Verdict::exact
                   ? text
                   : fmt::format("measured here{}: {}", weakest ? ", weakest part" : "", text));
}

/// To its part of the page, if it has one.
std::string link_to(const char* experiment) {
  const auto all = all_experiments();
  if (std::none_of(all.begin(), all.end(),
                   [&](const Experiment* e) { return std::string_view(e->name) == experiment; }))
    return experiment;
  return fmt::format("<a href=\"#{0}\">{0}</a>", experiment);
}

/// "Wu & He 2018" as "ref-wu-he-2018".
std::string anchor_of(const char* key) {
  std::string anchor = "ref";
  bool apart = true;
  for (const char c : std::string_view(key)) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (kept && apart) anchor += '-';
    if (kept) anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    apart = !kept;
  }
  return anchor;
}

std::string cited(const Citation& c) {
  return fmt::format("<a href=\"#{}\">{}</a>, {} ({})", anchor_of(c.paper), escaped(c.paper),
                     escaped(c.where), escaped(c.what));
}

std::string sources_of(const Experiment& e) {
  std::string html;
  for (const Citation& citation : e.sources) html += (html.empty() ? "" : "; ") + cited(citation);
  return "<dt>Sources</dt><dd>" + html + "</dd>\n";
}

std::string reference_list() {
  std::string html = "<h2 id=\"references\">References</h2>\n<ul class=\"references\">\n";
  for (const Reference& r : references())
    html += fmt::format("<li id=\"{}\"><b>{}</b>: {}. {}{} {}. <a href=\"{}\">{}</a></li>\n",
                        anchor_of(r.key), escaped(r.key), escaped(r.authors), escaped(r.title),
                        std::string_view(r.title).ends_with('?') ? "" : ".", escaped(r.venue),
                        escaped(r.address), escaped(r.address));
  return html + "</ul>\n";
}

std::string sentence_of(const Source& source, const Sentence& sentence) {
  const Together all = together(source.result.findings, [&](const Endpoint& endpoint) {
    return std::find(sentence.endpoints.begin(), sentence.endpoints.end(),
                     std::string_view(endpoint.name)) != sentence.endpoints.end();
  });
  std::string badges =
      all.complete ? badge_of(all.verdict, !all.parts.empty()) : badge("undecided", "not run");
  if (all.complete && !all.parts.empty()) badges += fmt::format(" ({})", escaped(all.parts));
  if (sentence.literature.paper)
    badges += fmt::format(" {}: {}", badge("literature", "from the literature"),
                          cited(sentence.literature));
  return fmt::format("<li>{} {} {}</li>\n", escaped(sentence.text), badges,
                     link_to(sentence.experiment));
}

std::string answer(const Source& source) {
  std::string html = "<ul class=\"answer\">\n";
  for (const Sentence& sentence : spoken_answer()) html += sentence_of(source, sentence);
  return html + "</ul>\n";
}

std::string cell_of(const Source& source, const TableCell& cell) {
  const Finding* f = source.finding(cell.endpoint);
  return fmt::format("<td>{}<span class=\"measured\">{}</span></td>", escaped(cell.text),
                     f ? escaped(measured(*f)) + ", " + name(f->verdict) : "not run");
}

std::string comparison_table(const Source& source) {
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Comparison\"><table>\n"
      "<caption>The two norms. Numbers are this run's; intervals cover 95 %.</caption>\n"
      "<tr><th scope=\"col\"></th><th scope=\"col\">Batch Norm</th>"
      "<th scope=\"col\">Layer Norm</th></tr>\n";
  for (const TableRow& row : comparison())
    html += fmt::format("<tr><th scope=\"row\">{}</th>{}{}</tr>\n", escaped(row.title),
                        cell_of(source, row.batch), cell_of(source, row.layer));
  return html + "</table></div>\n";
}

std::string statement_of(const Source& source, const StatementVerdict& v) {
  std::string findings;
  for (const Finding& f : source.result.findings)
    if (f.endpoint->statement == v.statement->number)
      findings += fmt::format("<li><b>{}</b> {} {}</li>\n", escaped(f.endpoint->name),
                              escaped(f.sentence), link_to(f.endpoint->experiment));
  const bool sum = v.statement->number == 7;  // of all the others
  const bool any = sum ? !source.result.findings.empty() : !findings.empty();
  return fmt::format("<li>{} {}{}{}</li>\n", escaped(v.statement->text),
                     any ? badge_of(v.verdict, !v.parts.empty()) : badge("undecided", "not run"),
                     (v.parts.empty() ? "" : fmt::format(" ({})", escaped(v.parts))) +
                         (v.complete || !any ? "" : "; not all experiments were run"),
                     findings.empty() ? "" : "\n<ul class=\"results\">\n" + findings + "</ul>");
}

std::string statements(const Source& source) {
  std::string html = "<ol class=\"results\">\n";
  for (const StatementVerdict& v : source.result.statements) html += statement_of(source, v);
  return html + "</ol>\n";
}

std::string figure_of(Source& source, const Figure& figure) {
  const Drawing drawing = draw(source.folder, figure);
  std::string picture;
  if (drawing.failure.empty()) {
    picture = "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Figure\">\n" +
              inline_svg(drawing.svg, figure.name, figure.caption) + "</div>\n";
  } else {
    source.failures.push_back(fmt::format("no picture {}.svg: {}", figure.name, drawing.failure));
    picture = element("p", fmt::format("There is no picture: {}. Later: gnuplot {}.gp > {}.svg",
                                       drawing.failure, figure.name, figure.name));
  }
  return fmt::format("<figure id=\"figure-{}\">\n{}{}</figure>\n", figure.name, picture,
                     element("figcaption", figure.caption));
}

std::string command_of(const Source& source, const Experiment& e) {
  const StudyOptions &o = source.options, defaults;
  std::string command = "gradus lab";
  if (o.seeds != defaults.seeds) command += fmt::format(" --seeds {}", o.seeds);
  if (o.first_seed != defaults.first_seed) command += fmt::format(" --first-seed {}", o.first_seed);
  if (o.data != defaults.data && e.on_images)
    command += fmt::format(" --data {}", shell_word(o.data));
  if (!source.result.rates.empty())
    command += fmt::format(" --rates {}", shell_word(source.result.rates));
  return fmt::format("{} --fresh --output gradus-lab-{} {}", command, e.name, e.name);
}

/// What the pilot says of a test's seeds, in words; empty where it says nothing.
std::string power_of(const Source& source, const Endpoint& endpoint) {
  const auto& all = pilot();
  const auto piloted = std::find_if(all.begin(), all.end(),
                                    [&](const Piloted& p) { return endpoint.name == p.endpoint; });
  if (piloted == all.end()) return "";
  if (source.options.data != "digits" &&
      reads_images(find_experiment(endpoint.experiment), endpoint.a.part))
    return " Its power is not known: the pilot was on the digits.";
  const Plan plan = plan_of(endpoint, *piloted, source.options);
  if (plan.seeds < 2) return "";
  return fmt::format(
      " By the pilot, to see an effect of {} with probability {} takes {}; the {} seeds of this "
      "run see it "
      "with probability {:.2f}, and with {} one of {} or more, or as far the other way.",
      effect_of(endpoint, plan.effect), kPower,
      plan.needed ? fmt::format("{} seeds", plan.needed)
                  : "more test items than there are, with any number of seeds",
      plan.seeds, plan.power, kPower, effect_of(endpoint, plan.seen));
}

std::string results_of(const Source& source, const Experiment& e, const Rows& rows) {
  std::string html;
  for (const Finding& f : source.result.findings)
    if (std::string_view(f.endpoint->experiment) == e.name)
      html += fmt::format("<li><b>{}</b> {} {}{}</li>\n", escaped(f.endpoint->name),
                          badge_of(f.verdict), escaped(f.sentence), power_of(source, *f.endpoint));
  for (const std::string& sentence : e.findings(rows)) html += element("li", sentence);
  return html.empty() ? "" : "<ul class=\"results\">\n" + html + "</ul>\n";
}

std::string fact(const char* name, const std::string& text) {
  return text.empty() ? "" : element("dt", name) + element("dd", text);
}

std::string experiment_of(Source& source, const Experiment& e) {
  std::string html = fmt::format("<section id=\"{0}\" aria-labelledby=\"{0}-title\">\n", e.name);
  html += element("h3", e.question, fmt::format("id=\"{}-title\"", e.name));
  html += "<dl class=\"facts\">\n" + fact("Set-up", e.setup) + fact("Rule", e.rule) + "</dl>\n";
  if (const Rows* rows = source.rows(e.name)) {
    for (const Figure& figure : e.figures(*rows)) html += figure_of(source, figure);
    html += results_of(source, e, *rows);
  } else {
    html += element("p", fmt::format("Not run: gradus lab {}", e.name));
  }
  html += "<dl class=\"facts\">\n" + fact("Limits", e.limits) + sources_of(e);
  return html + fmt::format(
                    "<dt>Again</dt><dd><code>{}</code>, about {:.0f} s on 2 cores; values "
                    "of each seed: {}.csv</dd>\n</dl>\n</section>\n",
                    escaped(command_of(source, e)), std::ceil(e.seconds), e.name);
}

std::string section_of(Source& source, const PageSection& section) {
  std::string html = element("h2", section.title, fmt::format("id=\"{}\"", section.id)) +
                     element("p", section.text);
  for (const Experiment* e : all_experiments())
    if (std::find(section.experiments.begin(), section.experiments.end(),
                  std::string_view(e->name)) != section.experiments.end())
      html += experiment_of(source, *e);
  return html;
}

/// The sections of contents.cc, those without experiments left out, and one for what is in none.
std::vector<PageSection> sections() {
  std::vector<PageSection> all;
  std::set<std::string_view> placed, known;
  for (const Experiment* e : all_experiments()) known.insert(e->name);
  for (const PageSection& section : page_sections()) {
    placed.insert(section.experiments.begin(), section.experiments.end());
    if (std::any_of(section.experiments.begin(), section.experiments.end(),
                    [&](const char* e) { return known.contains(e); }))
      all.push_back(section);
  }
  PageSection rest{"further", "Further experiments", "", {}};
  for (const Experiment* e : all_experiments())
    if (!placed.contains(e->name)) rest.experiments.push_back(e->name);
  if (!rest.experiments.empty()) all.push_back(rest);
  return all;
}

std::string not_shown(const Source& source) {
  std::string html = element(
      "p",
      "Undecided does not say that there is no effect: it may be there, unseen. With each result "
      "stands which effect this run was to see by the pilot, and with which probability: where it "
      "is small, nothing could have been seen.");
  html += "<ul class=\"results\">\n";
  for (const Finding& f : source.result.findings)
    if (f.verdict < Verdict::shown_with_limits)
      html += fmt::format("<li><b>{}</b> {} {}{} {}</li>\n", escaped(f.endpoint->name),
                          badge_of(f.verdict), escaped(f.sentence), power_of(source, *f.endpoint),
                          link_to(f.endpoint->experiment));
  html += "</ul>\n<p>And at this scale, of small nets on small data:</p>\n<ul>\n";
  for (const char* text : not_shown_at_this_scale()) html += element("li", text);
  return html + "</ul>\n";
}

std::string endpoints_table(const Source& source) {
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Endpoints\"><table>\n"
      "<caption>Every primary endpoint. What was changed after a look at results says so in its "
      "experiment's rule.</caption>\n<tr>";
  for (const char* title : {"Endpoint", "Claim", "Margin", "Measured, 95 %", "p", "p by Holm",
                            "Seeds", "Items", "Verdict"})
    html += fmt::format("<th scope=\"col\">{}</th>", title);
  html += "</tr>\n";
  for (const Endpoint& e : all_endpoints()) {
    const Finding* f = source.finding(e.name);
    const bool test = f && e.measure != Measure::bound && f->seeds > 1;
    html += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"long\">{}</td><td>{}</td><td>{}</td>"
        "<td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        escaped(e.name), escaped(e.claim), effect_of(e, e.margin),
        f ? escaped(measured(*f)) : "not run", test ? fmt::format("{:.2g}", f->p) : "",
        test ? fmt::format("{:.2g}", f->adjusted_p) : "", test ? std::to_string(f->seeds) : "",
        test && f->items ? std::to_string(f->items) : "", f ? name(f->verdict) : "");
  }
  return html + "</table></div>\n";
}

std::string pilot_table(const Source& source) {
  std::string html = fmt::format(
      "<p>How many seeds an endpoint needs follows from a pilot of {} seeds (from {} on) on the "
      "digits and the vowels, which neither reports nor tuning use: <code>gradus lab "
      "--pilot</code>. Its test items are those of the reports, for the test data are always the "
      "same: what it says of items, and so of power, is not independent of them. Differences "
      "between runs "
      "vary over seeds, over test items, and by what is neither, so that the mean over n seeds and "
      "I items has the variance v<sub>s</sub>/n + v<sub>i</sub>/I + v<sub>r</sub>/(nI). The effect "
      "to be seen is twice the margin, or the end nearest to 0 of the pilot's 60 % interval where "
      "that is more (Perugini et al. 2014); the level is the strictest of Holm's, {:.2g}, "
      "two-sided. Where the items "
      "alone leave too little power no number of seeds suffices. An endpoint that needs more than "
      "a run's seeds has a multiple of them where the time allows, one that needs fewer than half "
      "of them, and whose runs take long, has half.</p>\n",
      kPilotSeeds, kPilotSeed, kAlpha / static_cast<double>(family_size()));
  html +=
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Power\"><table>\n"
      "<caption>What the pilot says of each test.</caption>\n<tr>";
  for (const char* title : {"Endpoint", "Pilot's estimate (standard error)", "v<sub>s</sub>",
                            "v<sub>i</sub>", "v<sub>r</sub>", "Items", "Effect to be seen",
                            "Seeds for power .9", "Seeds of this run", "Power"})
    html += fmt::format("<th scope=\"col\">{}</th>", title);
  html += "</tr>\n";
  for (const Piloted& p : pilot())
    for (const Endpoint& e : all_endpoints()) {
      if (e.name != p.endpoint) continue;
      const Plan plan = plan_of(e, p, source.options);
      html += fmt::format(
          "<tr><th scope=\"row\">{}</th><td class=\"n\">{:+.3g} ({:.2g})</td><td "
          "class=\"n\">{:.2g}</td><td class=\"n\">{:.2g}</td><td class=\"n\">{:.2g}</td><td "
          "class=\"n\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td "
          "class=\"n\">{:.2f}</td></tr>\n",
          escaped(p.endpoint), p.estimate.mean, p.estimate.standard_error, p.components.seeds,
          p.components.items, p.components.rest, p.items ? std::to_string(p.items) : "",
          effect_of(e, plan.effect), plan.needed ? std::to_string(plan.needed) : "none suffices",
          plan.seeds, plan.power);
    }
  return html + "</table></div>\n";
}

std::string rates_table() {
  std::string html =
      "<details><summary>The learning rates that were chosen, by the mean logarithm "
      "of a validation loss, in speed of the steps to 90 %, in regularization of an error; the "
      "table shows its exponential</summary>\n"
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Rates\"><table>\n<tr>";
  for (const char* title :
       {"Experiment", "Net", "Norm", "Cell", "Rate", "Validation", "Best", "Data"})
    html += fmt::format("<th scope=\"col\">{}</th>", title);
  html += "</tr>\n";
  for (const TunedRate& rate : tuned_rates())
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{:.2g}</td>"
        "<td class=\"n\">{:.3g}</td><td>{}</td><td>{}</td></tr>\n",
        escaped(rate.experiment), escaped(rate.part), escaped(rate.norm), escaped(rate.cell),
        rate.lr, rate.loss, rate.at_edge ? "at the grid's edge" : "inside", rate.data);
  return html + "</table></div></details>\n";
}

/// When and on which machine a table was computed.
std::string notes_of(const char* what, const std::vector<std::string>& notes) {
  if (notes.empty()) return "";
  return element("p", fmt::format("{}: {}.", what, fmt::join(notes, "; and ")));
}

std::string method(const Source& source) {
  const StudyOptions& o = source.options;
  double seconds = 0;
  for (const Experiment* e : all_experiments()) seconds += e->seconds;
  const auto tests = std::count_if(all_endpoints().begin(), all_endpoints().end(),
                                   [](const Endpoint& e) { return e.measure != Measure::bound; });
  const std::vector<std::string> paragraphs = {
      fmt::format(
          "Gradus {}. Seeds from {} on (those below {} were seen while the rules were made): {} "
          "for primary endpoints or, where the table "
          "below says so, as many as the pilot asks for; {} for what is context, and a figure may "
          "show both: in the map only the cells of primary endpoints have all. A seed "
          "draws a net's initial weights, the order of the items and four fifths of the "
          "training data; the test data are always the same, so all of this varies over "
          "one data set. Images: {}.",
          GRADUS_VERSION, o.first_seed, StudyOptions{}.first_seed, o.all_seeds().size(),
          o.context_seeds().size(), o.data),
      "Test losses are compared by the logarithm of their ratio, paired by seed: the same data, "
      "order and shared initial weights, which with another norm are another function, so that "
      "losses differ from the first step on. Where an endpoint has losses of single items its "
      "interval is for new seeds and new items (two-way layout, degrees of freedom by "
      "Satterthwaite 1946), else for new seeds (Student's t); those of figures and of what is told "
      "beside "
      "the endpoints are for new seeds on these items. New items are others of the same kind: "
      "utterances of the same "
      "nine speakers, digits of the same writers. All intervals hold at the rates, groups and "
      "numbers of updates that were chosen: how these would vary with other validation data is "
      "not in them.",
      fmt::format("The {} tests are two-sided and one family of Holm's correction (Holm 1979), "
                  "whichever were run. Shown: adjusted p below .05, the claimed sign, and an "
                  "estimate beyond the "
                  "margin; with limits: under conditions named beforehand. Opposite: the same with "
                  "the other sign. Equivalent: the 90 % interval lies inside the margin, which is "
                  "two tests at 5 % of their own (Schuirmann 1987), outside Holm's family. What "
                  "rests on a setting "
                  "that was the last one tried, or on learning rates of other images, is "
                  "undecided, and so is all else. A ratio of Brier scores (Brier 1950) beside a "
                  "ratio of losses "
                  "has no verdict. Exact claims are "
                  "no tests: the largest relative difference has to "
                  "be below the margin. A statement's verdict is its weakest endpoint's.",
                  tests),
      fmt::format(
          "Learning rates were chosen for each norm and for none, in each cell, on "
          "validation data, with {} seeds (from {} on) that no report uses, on a grid by factors "
          "of 3 that grows until the best has {} worse ones on both sides; by the mean of the "
          "logarithm of the validation loss, so that single runs do not lead, and never one at "
          "which a run diverged. A rate that is more than twice as bad as the best so far by half "
          "of the seeds is not tried with the others.",
          kTuningSeeds, kTuningSeed, kWorseRates)};
  std::string html;
  for (const std::string& text : paragraphs) html += element("p", text);
  html += fmt::format(
      "<p>All of it again: <code>gradus lab --fresh</code>, about {:.0f} s on 2 cores; the rates: "
      "<code>gradus lab --tune --output tuned</code>, about {:.0f} s on 2 cores; the pilot: <code>"
      "gradus lab --pilot --output pilot</code>, about {:.0f} s on 2 cores. The numbers "
      "of this page: claims.json, and NAME.csv of each experiment.</p>\n",
      seconds, kTuningSeconds, kPilotSeconds);
  html += notes_of("The rates were chosen", rates_notes()) +
          notes_of("The pilot was run", pilot_notes());
  return html + endpoints_table(source) + pilot_table(source) + rates_table();
}

constexpr const char* kAttribution =
    R"(<p>Digits: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998,
doi:10.24432/C50P49, Creative Commons Attribution 4.0 (CC BY 4.0); as scikit-learn 1.2.1 distributes it (BSD-3-Clause,
copyright the scikit-learn developers).</p>
<p>Vowels: M. Kudo, J. Toyama, M. Shimbo, "Multidimensional Curve Classification Using Passing-Through Regions", Pattern
Recognition Letters 20 (11-13), 1999; "Japanese Vowels", UCI Machine Learning Repository, doi:10.24432/C5NS47, Creative
Commons Attribution 4.0 (CC BY 4.0); made from the files of aeon 1.6.0 (BSD-3-Clause). Changed: values are rounded to 4
decimals, speakers count from 0.</p>
<p>Figures: drawn by gnuplot. Colours: Okabe and Ito's (Wong, Nature Methods 8, 2011), darker or lighter here for contrast.</p>
)";

constexpr const char* kMicroscope = R"(<h2 id="look">The microscope</h2>
<p>Each cell is a value of a real batch: above x, below x&#770;. Choose a norm; press a cell to see with which others it
shares mean and variance; drag a value up or down to see which outputs move
(with a finger: tap it first).</p>
<div id="microscope">
<form onsubmit="return false">
<fieldset><legend>Batch</legend>
<label><input type="radio" name="view" value="images" checked> images (N, C, H, W)</label>
<label><input type="radio" name="view" value="sequences"> sequences (N, T, D)</label>
<label><input type="radio" name="view" value="features"> features (N, D)</label></fieldset>
<fieldset><legend>Norm</legend>
<label><input type="radio" name="norm" value="BN" checked> Batch</label>
<label><input type="radio" name="norm" value="LN"> Layer</label>
<label><input type="radio" name="norm" value="GN"> Group (2)</label>
<label><input type="radio" name="norm" value="IN"> Instance</label></fieldset>
<fieldset><legend>Mode</legend>
<label><input type="radio" name="mode" value="training" checked> training</label>
<label><input type="radio" name="mode" value="inference"> inference</label></fieldset>
<fieldset><legend>Samples: <output id="count" for="samples">4</output></legend>
<input type="range" id="samples" aria-label="Samples in the batch" min="2" max="4" step="1" value="4"></fieldset>
<button type="button" id="reset">Real values again</button>
</form>
<p id="what"></p>
<p id="problem" role="alert"></p>
<div id="cells"></div>
<p class="said" id="shares" aria-live="polite"></p>
<p class="said" id="moved" aria-live="polite"></p>
<ul class="legend">
<li><span class="cell chosen"></span> chosen</li><li><span class="cell shares"></span> shares its statistics</li>
<li><span class="cell hand"></span> changed by you</li><li><span class="cell moved"><i>1.0</i></span> output moved</li>
<li><span class="cell padded"></span> padding</li><li><span class="cell later"></span> future of the chosen one</li>
</ul>
<dl id="numbers"></dl>
<p>Weights are 1 and biases 0, as layers begin; dy is a fixed random gradient. By the keyboard: left and right go from
cell to cell, up and down change a value, Enter chooses it. The numbers are computed in this page; a test holds them
against the library's own (microscope.json) for every norm, mode and number of samples, to 1e-6.</p>
</div>
<noscript><p>The microscope needs JavaScript; the rest of the page does not.</p></noscript>
)";

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>Batch and Layer Normalization: what differs, and when</title>
<style>
)";

/// A JSON text that cannot end the element that it stands in.
std::string in_script(const nlohmann::ordered_json& json) {
  return replace_all(json_text(json, -1), "<", "\\u003c");
}

std::string page(Source& source, const nlohmann::ordered_json& microscope) {
  std::string links, body;
  const auto link = [&](const char* id, const char* title) {
    links += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", id, escaped(title));
  };
  link("look", "The microscope");
  for (const PageSection& section : sections()) {
    link(section.id, section.title);
    body += section_of(source, section);
  }
  link("not-shown", "What could not be shown");
  link("method", "Method");
  link("references", "References");
  std::string html = kHead + embedded(page_css, page_css_size) + "</style>\n</head>\n<body>\n";
  html +=
      "<a class=\"skip\" href=\"#main\">To the text</a>\n<header>\n"
      "<h1>Batch and Layer Normalization: what differs, and when</h1>\n";
  if (!source.failures.empty())
    html += element("p", "Figures are missing: " + source.failures.front());
  if (source.options.data != "digits")
    html += element("p", fmt::format("The image experiments of this page are repeated on the "
                                     "images of {}. Texts and rules speak of the digits, for "
                                     "which they were written.",
                                     images_note(source.options)));
  html += "</header>\n<main id=\"main\">\n<h2 id=\"answer\">The answer in a minute</h2>\n" +
          answer(source) + comparison_table(source);
  html += "<nav aria-label=\"Sections\"><ul>\n" + links + "</ul></nav>\n";
  html += "<h2 id=\"statements\">The statements, and what came out</h2>\n" + statements(source);
  html += kMicroscope + body;
  html += "<h2 id=\"not-shown\">What could not be shown</h2>\n" + not_shown(source);
  html += "<h2 id=\"method\">Method</h2>\n" + method(source) + reference_list();
  html += "</main>\n<footer>\n" + std::string(kAttribution) + "</footer>\n";
  return html + "<script type=\"application/json\" id=\"library\">" + in_script(microscope) +
         "</script>\n<script>\n" + embedded(microscope_js, microscope_js_size) +
         "</script>\n</body>\n</html>\n";
}

}  // namespace

std::vector<std::string> write_page(const std::string& folder, const StudyOptions& options,
                                    const LabResult& result) {
  Source source{folder, options, result};
  const nlohmann::ordered_json microscope = microscope_json();
  const std::filesystem::path root = folder;
  const std::string html = page(source, microscope);
  write_file((root / "microscope.json").string(),
             [&](std::ostream& out) { out << json_text(microscope, -1) << "\n"; });
  write_file((root / "report.html").string(), [&](std::ostream& out) { out << html; });
  return source.failures;
}

}  // namespace gradus::lab

#define BOOST_TEST_MODULE page
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "lab/page/contents.h"
#include "lab/page/figure.h"
#include "lab/page/page.h"
#include "lab/page/references.h"
#include "lab/study/pilot.h"
#include "tests/checks.h"

using namespace gradus;
using namespace gradus::lab;

namespace {

namespace fs = std::filesystem;

/// An experiment with a figure of every colour and text that HTML and gnuplot could trip over.
std::vector<Figure> fixture_figures(const Rows&) {
  std::string script = "set logscale x 2\nset xlabel 'samples a statistic'\nset ylabel 'ratio'\n";
  std::string plots;
  for (int k = 1; k <= 6; ++k) {
    script += fmt::format("$d{0} << END\n1 {1} \"a & b <i> {0}\"\n4 {2} \"it's {0}\"\nEND\n", k, k,
                          k + .5);
    plots += fmt::format(
        "{0}$d{1} using 1:2 with lines lt {1} title 'line {1}', $d{1} using 1:2:3 "
        "with labels hypertext point pt 7 ps .6 lt {1} notitle",
        k == 1 ? "plot " : ", ", k);
  }
  return {{"fixture-lines", "Six \"lines\" & <b>their</b> values", script + plots}};
}

const ExperimentEntry entry(1000, {.name = "fixture",
                                   .statements = {1},
                                   .question = "Is 1 < 2 & \"3\"?",
                                   .setup = "Set up.",
                                   .rule = "Rule.",
                                   .limits = "Limits.",
                                   .sources = {{"Wu & He 2018", "section 3", "<b>"}},
                                   .seconds = 0,
                                   .on_images = false,
                                   .jobs = [](const StudyOptions&) { return std::vector<Job>(); },
                                   .figures = fixture_figures,
                                   .findings =
                                       [](const Rows&) {
                                         return std::vector<std::string>{"A finding of <script>."};
                                       }});

/// Verdicts of rows of every series that an endpoint names, three seeds each; of the experiments
/// the fixture alone, since figures of others need rows that only they have.
LabResult results() {
  LabResult result;
  std::vector<std::pair<std::string, Rows>> experiments;
  for (const Experiment* experiment : all_experiments()) {
    Rows rows;
    for (const Endpoint& e : all_endpoints())
      for (const Series& s : {e.a, e.b}) {
        if (e.experiment != std::string_view(experiment->name) || !s.part) continue;
        for (uint64_t seed = 1; seed <= 3; ++seed)
          rows.push_back({s.part, s.norm, s.cell, 1, seed, -1, s.quantity,
                          1 + .1 * static_cast<double>(seed * rows.size() % 7)});
      }
    experiments.emplace_back(experiment->name, rows);
  }
  result.findings = judge(experiments);
  result.statements = judge_statements(result.findings);
  result.experiments = {{"fixture", {}}};
  return result;
}

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What a text cites, by year: "Wu & He 2018", also of "Wu & He (2018)".
std::set<std::string> citations_of(const std::string& text) {
  const std::regex pattern(
      "\\b((?:van )?[A-Z][a-z]+(?: & [A-Z][a-z]+| et al\\.)?) \\(?((?:19|20)[0-9]{2})\\b");
  std::set<std::string> keys;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
    keys.insert((*at)[1].str() + " " + (*at)[2].str());
  return keys;
}

/// A paper of the list, and where in it.
void check_citation(const Citation& citation) {
  const std::regex place("(sections?|algorithm|equation|figure|theorem) [0-9].*|abstract");
  BOOST_TEST(find_reference(citation.paper), citation.paper);
  BOOST_TEST(std::regex_match(citation.where, place), citation.where);
  BOOST_TEST(*citation.what != '\0', citation.paper);
}

}  // namespace

// The page that check_page.py looks at in a browser.
BOOST_AUTO_TEST_CASE(the_page_is_one_file_with_its_figures) {
  const fs::path folder = "lab-page";
  fs::create_directories(folder);
  BOOST_TEST(write_page(folder.string(), {}, results()).empty());
  const std::string html = text_of(folder / "report.html");
  BOOST_TEST(html.size() < 3U << 20);
  BOOST_TEST(contains(html, "<h3 id=\"fixture-title\">Is 1 &lt; 2 &amp; &quot;3&quot;?</h3>"));
  BOOST_TEST(contains(html, "<li>A finding of &lt;script&gt;.</li>"));
  BOOST_TEST(
      contains(html, "aria-label=\"Six &quot;lines&quot; &amp; &lt;b&gt;their&lt;/b&gt; values\""));
  BOOST_TEST(contains(html, "<title>a &amp; b &lt;i> 1</title>"));
  BOOST_TEST(contains(html, "<title>it's 6</title>"));
  BOOST_TEST(!contains(html, "gnuplot_svg"));
  for (int k = 1; k <= 6; ++k) BOOST_TEST(contains(html, fmt::format("'var(--c{})'", k)));
  const std::string picture = text_of(folder / "fixture-lines.svg");
  BOOST_TEST(contains(picture, "rgb(  0, 114, 178)"));
  BOOST_TEST(!contains(picture, "var("));
  for (const Experiment* e : all_experiments())
    BOOST_TEST(contains(html, fmt::format("<section id=\"{}\"", e->name)));
  const std::string power = html.substr(html.find("aria-label=\"Power\""));
  for (const Endpoint& e : all_endpoints())
    BOOST_TEST(contains(power, fmt::format("<tr><th scope=\"row\">{}</th>", e.name)) ==
               (e.measure != Measure::bound));
  BOOST_TEST(contains(power, "<td>none suffices</td>"));
}

// With every test's result stands what its seeds can see, and in the method on what the pilot and
// the tuning ran.
BOOST_AUTO_TEST_CASE(the_page_tells_power_and_machines) {
  const fs::path folder = "lab-page-power";
  fs::create_directories(folder);
  LabResult all = results();
  const auto page_of = [&](const StudyOptions& options) {
    write_page(folder.string(), options, all);
    return text_of(folder / "report.html");
  };
  const auto told = [&](const std::string& html, const std::string& name,
                        const std::string& sentence) {
    const size_t at = html.find(sentence, html.find("<h2 id=\"not-shown\">"));
    return at != std::string::npos &&
           html.rfind("<li><b>" + name + "</b>", at) > html.rfind("</li>", at);
  };
  for (Finding& finding : all.findings) finding.verdict = Verdict::undecided;
  const std::string html = page_of({});
  for (const Piloted& p : pilot())
    for (const Endpoint& e : all_endpoints()) {
      if (e.name != p.endpoint) continue;
      const Plan plan = plan_of(e, p, {});
      const std::string sentence = fmt::format(
          "By the pilot, to see an effect of {} with probability 0.9 takes {}; the {} seeds of "
          "this "
          "run see it with probability {:.2f}, and with 0.9 one of {} or more, or as far the "
          "other way.",
          effect_of(e, plan.effect),
          plan.needed ? fmt::format("{} seeds", plan.needed)
                      : "more test items than there are, with any number of seeds",
          plan.seeds, plan.power, effect_of(e, plan.seen));
      BOOST_TEST(told(html, e.name, sentence), e.name);
    }
  for (const auto& notes : {rates_notes(), pilot_notes()})
    for (const std::string& note : notes) BOOST_TEST(contains(html, note), note);
  BOOST_TEST(contains(html, "gradus lab --pilot"));
  BOOST_TEST(!contains(page_of({.seeds = 1}), "the 1 seeds of this run see"));
}

BOOST_AUTO_TEST_CASE(without_gnuplot_the_page_says_so_and_is_whole) {
  const fs::path folder = "lab-page-without-gnuplot";
  fs::create_directories(folder);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", "/nonexistent", 1);
  const auto failures = write_page(folder.string(), {}, results());
  ::setenv("PATH", path.c_str(), 1);
  BOOST_TEST_REQUIRE(!failures.empty());
  BOOST_TEST(contains(failures.back(), "gnuplot is not installed"));
  const std::string html = text_of(folder / "report.html");
  BOOST_TEST(contains(html, "There is no picture: gnuplot is not installed"));
  BOOST_TEST(contains(html, "</html>"));
}

BOOST_AUTO_TEST_CASE(a_page_of_no_results_is_whole) {
  const fs::path folder = "lab-page-empty";
  fs::create_directories(folder);
  LabResult nothing;
  nothing.statements = judge_statements({});
  BOOST_TEST(write_page(folder.string(), {}, nothing).empty());
  const std::string html = text_of(folder / "report.html");
  BOOST_TEST(contains(html, "Not run: gradus lab statistics-batch"));
  BOOST_TEST(!contains(html, "measured here: "));
}

BOOST_AUTO_TEST_CASE(what_the_page_is_made_of_names_endpoints_that_there_are) {
  const auto there = [](std::string_view name) {
    const auto& all = all_endpoints();
    return std::any_of(all.begin(), all.end(), [&](const Endpoint& e) { return e.name == name; });
  };
  for (const Sentence& sentence : spoken_answer())
    for (const char* endpoint : sentence.endpoints) BOOST_TEST(there(endpoint), endpoint);
  for (const TableRow& row : comparison()) {
    BOOST_TEST(there(row.batch.endpoint), row.batch.endpoint);
    BOOST_TEST(there(row.layer.endpoint), row.layer.endpoint);
  }
}

// An abstract alone is a place, but no experiment rests on such alone.
BOOST_AUTO_TEST_CASE(sources_are_papers_and_sections) {
  for (const Experiment* experiment : all_experiments()) BOOST_TEST_CONTEXT(experiment->name) {
      const auto& sources = experiment->sources;
      for (const Citation& citation : sources) check_citation(citation);
      BOOST_TEST(std::any_of(sources.begin(), sources.end(), [](const Citation& c) {
        return std::string_view(c.where) != "abstract";
      }));
    }
  for (const Sentence& sentence : spoken_answer())
    if (sentence.literature.paper) check_citation(sentence.literature);
}

BOOST_AUTO_TEST_CASE(what_is_cited_is_in_the_references_and_the_other_way_round) {
  const fs::path folder = "lab-page-references";
  fs::create_directories(folder);
  write_page(folder.string(), {}, results());
  const std::string html = text_of(folder / "report.html");
  const size_t list = html.find("<h2 id=\"references\">"), end = html.find("</ul>", list);
  BOOST_TEST_REQUIRE(list != std::string::npos);
  const auto cited =
      citations_of(std::regex_replace(html.substr(0, list), std::regex("&amp;"), "&"));
  for (const std::string& key : cited) BOOST_TEST(find_reference(key), key);
  const std::string listed = html.substr(list, end - list);
  for (const Reference& reference : references()) {
    BOOST_TEST(cited.contains(reference.key), reference.key);
    BOOST_TEST(contains(listed, fmt::format(">{0}</a>", reference.address)), reference.key);
  }
  // A link is followed by hand; nothing else has an address.
  BOOST_TEST(contains(listed, "<a href=\"https://arxiv.org/abs/1607.06450\">"));
  BOOST_TEST(!std::regex_search(html, std::regex("(src|srcset|url)[=(] *[\"']?http")));
  for (const std::string& key : citations_of(text_of(GRADUS_LESSON)))
    BOOST_TEST(find_reference(key), key);
}

BOOST_AUTO_TEST_CASE(the_lesson_names_experiments_and_endpoints_that_there_are) {
  const std::string lesson = text_of(GRADUS_LESSON);
  std::set<std::string> experiments, endpoints;
  for (const Experiment* e : all_experiments()) experiments.insert(e->name);
  for (const Endpoint& e : all_endpoints()) endpoints.insert(e.name);
  const auto each = [&](const char* pattern, const auto& use) {
    const std::regex regex(pattern);
    for (std::sregex_iterator at(lesson.begin(), lesson.end(), regex), end; at != end; ++at)
      use((*at)[1].str());
  };
  size_t named = 0;
  each("`([a-z-]+)`", [&](const std::string& name) {
    ++named;
    BOOST_TEST(experiments.contains(name), name);
  });
  BOOST_TEST(named > 10u);
  each("\n\\| ([a-z0-9-]+)(?:, [a-z]+)? \\|", [&](const std::string& name) {
    if (name != "endpoint") BOOST_TEST(endpoints.contains(name), name);
  });
}

#include "lab/page/figure.h"

#include <fmt/format.h>
#include <gradus/base/file.h>

#include <filesystem>

#include "lab/gnuplot.h"

namespace gradus::lab {

namespace {

namespace fs = std::filesystem;

// Okabe and Ito's, which colour-blind readers can tell apart (Wong 2011); grey is "none".
constexpr const char* kColors[] = {"0072b2", "d55e00", "6e6e6e", "009e73", "cc79a7", "e69f00"};
// What is there and not meant, on light paper; on dark paper it must not shine.
constexpr const char* kFaint = "dcdcdc";

std::string settings(const Figure& figure) {
  std::string text = fmt::format("set terminal svg size {},{} dynamic font 'sans-serif,14'\n",
                                 figure.width, figure.height);
  for (size_t i = 0; i < std::size(kColors); ++i)
    text +=
        fmt::format("set linetype {} linecolor rgb '#{}' linewidth 2 pointtype {} pointsize 0.6\n",
                    i + 1, kColors[i], i == 0 ? 7 : i + 4);
  return text +
         "set linetype cycle 6\nset border 3 linewidth 1\nset tics nomirror\nset grid ytics\n"
         "set key above\nset bars small\n";
}

/// As gnuplot writes it in an SVG: "rgb(  0, 114, 178)".
std::string rgb(const std::string& hex) {
  const auto part = [&](size_t at) { return std::stoi(hex.substr(at, 2), nullptr, 16); };
  return fmt::format("rgb({:3}, {:3}, {:3})", part(0), part(2), part(4));
}

/// What gnuplot wants a script of its own to show under the pointer becomes the element's title.
std::string with_titles(std::string svg) {
  const std::string begin = " onmousemove=\"gnuplot_svg.showHypertext(evt,'";
  const std::string end = "')\" onmouseout=\"gnuplot_svg.hideHypertext()\"><title> </title>";
  for (size_t at = 0; (at = svg.find(begin, at)) != svg.npos;) {
    const size_t stop = svg.find(end, at);
    if (stop == svg.npos) break;
    const std::string text = svg.substr(at + begin.size(), stop - at - begin.size());
    svg.replace(at, stop + end.size() - at, "><title>" + text + "</title>");
  }
  return svg;
}

/// Titles that name gnuplot's parts would hide the values' ones.
std::string without_own_titles(std::string svg) {
  for (const std::string name : {"<title>gnuplot_plot_", "<title>Gnuplot"})
    for (size_t at = 0; (at = svg.find(name, at)) != svg.npos;)
      svg.erase(at, svg.find("</title>", at) + 8 - at);
  return svg;
}

}  // namespace

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::string escaped(const std::string& text) {
  std::string html;
  for (char c : text) {
    if (c == '&')
      html += "&amp;";
    else if (c == '<')
      html += "&lt;";
    else if (c == '>')
      html += "&gt;";
    else if (c == '"')
      html += "&quot;";
    else if (c == '\'')
      html += "&#39;";
    else
      html += c;
  }
  return html;
}

Drawing draw(const std::string& folder, const Figure& figure) {
  const fs::path picture = fs::path(folder) / (figure.name + ".svg"),
                 script = fs::path(folder) / (figure.name + ".gp");
  write_file(script.string(),
             [&](std::ostream& out) { out << settings(figure) << figure.script << "\n"; });
  const GnuplotPicture drawn = gnuplot(script.string());
  Drawing drawing{"", drawn.failure};
  if (drawing.failure.empty()) {
    drawing.svg = without_own_titles(with_titles(drawn.bytes));
    write_file(picture.string(), [&](std::ostream& out) { out << drawing.svg; });
  } else {
    remove_file(picture.string());  // one of earlier results
  }
  return drawing;
}

std::string inline_svg(const std::string& svg, const std::string& name, const std::string& label) {
  std::string text = svg.substr(std::min(svg.find("<svg"), svg.size()));
  text =
      replace_all(text, "<svg", fmt::format("<svg role=\"img\" aria-label=\"{}\"", escaped(label)));
  for (const char quote : {'\'', '"'})
    text = replace_all(text, fmt::format(" id={}", quote), fmt::format(" id={}{}-", quote, name));
  text = replace_all(text, "href='#", fmt::format("href='#{}-", name));
  text = replace_all(text, "url(#", fmt::format("url(#{}-", name));
  for (size_t i = 0; i < std::size(kColors); ++i)
    text = replace_all(text, rgb(kColors[i]), fmt::format("var(--c{})", i + 1));
  text = replace_all(text, rgb(kFaint), "var(--line)");
  for (const char* attribute : {"fill", "stroke", "color"})
    for (const std::string& black :
         {fmt::format("{}=\"black\"", attribute), fmt::format("{}='black'", attribute),
          fmt::format("{}='{}'", attribute, rgb("000000"))})
      text = replace_all(
          text, " " + black,
          std::string(attribute) == "color" ? "" : fmt::format(" {}=\"currentColor\"", attribute));
  return text;
}

}  // namespace gradus::lab

#pragma once
#include <string>

#include "lab/study/study.h"

namespace gradus::lab {

/// A figure as gnuplot draws it.
struct Drawing {
  std::string svg;      ///< a document of its own, in plain colours; empty where `failure` is not
  std::string failure;  ///< what went wrong
};
/// Draws by a script that is written beside the picture, FOLDER/NAME.gp and .svg, and stays there.
Drawing draw(const std::string& folder, const Figure& figure);

/// The same picture as a part of a page: colours are the page's variables --c1 to --c6 and its text
/// colour, ids begin with `name`, and `label` is what a screen reader says.
std::string inline_svg(const std::string& svg, const std::string& name, const std::string& label);

/// Text as HTML shows it as it is, in elements and in quoted attributes.
std::string escaped(const std::string& text);

/// Every `from` becomes `to`.
std::string replace_all(std::string text, const std::string& from, const std::string& to);

}  // namespace gradus::lab

#pragma once
#include <boost/test/unit_test.hpp>
#include <regex>

#include "lab/study/study.h"

namespace gradus::test {

/// What a reader sees of an experiment's rows is in words: none of the names that rows have.
inline void check_words(const lab::Experiment& experiment, const lab::Rows& rows) {
  const std::regex names(
      "(^|[ \"])(cnn|mlp|rnn|layer_channel)(?=[ ,:;.\"])|norm (batch|layer|none)");
  const auto check = [&](const std::string& text) {
    BOOST_TEST(!text.empty());
    BOOST_TEST(!std::regex_search(text, names), text);
  };
  for (const std::string& finding : experiment.findings(rows)) check(finding);
  for (const lab::Figure& figure : experiment.figures(rows)) {
    check(figure.caption);
    check(figure.script);
  }
}

}  // namespace gradus::test

#pragma once
#include <string>
#include <vector>

#include "lab/study/study.h"

namespace gradus::lab {

/// A sentence of the spoken answer. Its badge is the weakest verdict of its endpoints, by their
/// names in all_endpoints(); it links to an experiment.
struct Sentence {
  const char* text;
  const char* experiment;
  std::vector<const char*> endpoints;
  Citation literature;  ///< what it rests on beside them, if on anything
};
const std::vector<Sentence>& spoken_answer();

/// A cell of the table that compares the two norms, and the endpoint whose number it shows.
struct TableCell {
  const char *text, *endpoint;
};
struct TableRow {
  const char* title;
  TableCell batch, layer;
};
const std::vector<TableRow>& comparison();

/// A section of the page, in the order of learning, with the experiments in it. Those of none come
/// last.
struct PageSection {
  const char *id, *title, *text;
  std::vector<const char*> experiments;
};
const std::vector<PageSection>& page_sections();

/// What these data and nets are too small to show.
const std::vector<const char*>& not_shown_at_this_scale();

}  // namespace gradus::lab

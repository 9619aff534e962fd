#pragma once
#include <string>
#include <vector>

#include "lab/study/lab.h"

namespace gradus::lab {

/// Draws the figures of the experiments whose results are there, FOLDER/NAME.svg, and writes
/// FOLDER/microscope.json and FOLDER/report.html, one file that asks for no other. Returns what
/// could not be drawn, and why; where gnuplot is missing the page says so and is otherwise whole.
std::vector<std::string> write_page(const std::string& folder, const StudyOptions& options,
                                    const LabResult& result);

}  // namespace gradus::lab

#pragma once
#include <cstdio>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "bench/measure.h"

namespace gradus::bench {

/// What a row times, and what the last step gave: a loss, or some elements of a gradient.
struct Work {
  std::function<void()> step;
  std::function<std::vector<double>()> result;
};

using Rows = std::vector<std::pair<std::string, std::function<Work()>>>;

/// Answers the race's questions, a line each, until there are no more:
///   time SECONDS ROW   the median time of a step in microseconds
///   check ROW          the results of 5 steps
/// `none` is the answer where there is no such row. The row asked last stays set up.
inline void serve(const Rows& rows) {
  std::string line, current;
  Work work;
  int64_t calls = 0;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string question, row;
    double seconds = 0;
    words >> question;
    if (question == "time") words >> seconds;
    std::getline(words >> std::ws, row);
    if (row != current) {
      work = {};
      for (const auto& [name, make] : rows)
        if (name == row) work = make();
      current = row;
      calls = 0;
    }
    if (!work.step) {
      std::puts("none");
    } else if (question == "check") {
      for (int i = 0; i < 5; ++i) {
        work.step();
        for (double value : work.result()) std::printf("%.9g ", value);
      }
      std::puts("");
    } else {
      if (calls == 0) calls = calls_a_block(work.step);
      std::vector<double> times;
      const double begin = now_us();
      do times.push_back(mean_us(work.step, calls));
      while (now_us() - begin < seconds * 1e6 || times.size() < 2);
      std::printf("%.9g\n", median(times));
    }
    std::fflush(stdout);
  }
}

}  // namespace gradus::bench

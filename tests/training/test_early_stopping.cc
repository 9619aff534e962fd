#define BOOST_TEST_MODULE early_stopping
#include <gradus/training/early_stopping.h>

#include <cmath>
#include <vector>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

/// The epoch, from 0, after which it stops; -1: none.
int stops_after(EarlyStopping stopping, const std::vector<double>& metrics) {
  for (size_t i = 0; i < metrics.size(); ++i)
    if (stopping.step(metrics[i])) return static_cast<int>(i);
  return -1;
}

}  // namespace

BOOST_AUTO_TEST_CASE(it_stops_after_so_many_epochs_without_improvement) {
  BOOST_TEST(stops_after(EarlyStopping(2), {3, 2, 1, 0.5}) == -1);
  BOOST_TEST(stops_after(EarlyStopping(2), {3, 2, 2, 1, 1, 1}) == 5);
  BOOST_TEST(stops_after(EarlyStopping(2), {3, NAN, NAN, 1}) == 2);
  BOOST_TEST(stops_after(EarlyStopping(1), {NAN}) == 0);
  BOOST_TEST(stops_after(EarlyStopping(2, {Better::higher}), {1, 2, 1.5, 1.9, 3}) == 3);
  // By 0.5 at least: 2.6 and 2.5 are none, and slow progress adds up.
  BOOST_TEST(stops_after(EarlyStopping(2, {.threshold = 0.5}), {3, 2.6, 2.5}) == 2);
  BOOST_TEST(stops_after(EarlyStopping(2, {.threshold = 0.5}), {3, 2.6, 2.4, 2.3, 1.8}) == -1);
  BOOST_TEST(stops_after(EarlyStopping(1, {.threshold = 0.1, .relative = true}), {10, 8.9, 8.1}) ==
             2);
}

BOOST_AUTO_TEST_CASE(it_tells_the_best) {
  EarlyStopping stopping(3);
  stopping.step(2);
  BOOST_TEST(stopping.improved());
  stopping.step(5);
  BOOST_TEST(!stopping.improved());
  BOOST_TEST(stopping.best == 2);
  BOOST_TEST(stopping.num_bad_epochs == 1);
  BOOST_CHECK_EXCEPTION(EarlyStopping(0), Error, says("a patience of 0 epochs"));
  BOOST_CHECK_EXCEPTION(EarlyStopping(1, {.threshold = -1}), Error, says("threshold -1"));
}

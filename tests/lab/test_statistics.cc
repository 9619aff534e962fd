// The lab's statistics against SciPy 1.17 (scipy.stats) and the papers' formulas in NumPy.
#define BOOST_TEST_MODULE statistics
#include <gradus/base/error.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "lab/study/statistics.h"

using namespace gradus;
using namespace gradus::lab;

namespace {

const std::vector<double> kDifferences = {0.31, -0.12, 0.44, 0.27, 0.05};

auto close(double tolerance) { return boost::unit_test::tolerance(tolerance); }

}  // namespace

BOOST_AUTO_TEST_CASE(quantiles_of_students_t, *close(1e-12)) {
  BOOST_TEST(student_t_quantile(0.975, 9) == 2.262157162798205);
  BOOST_TEST(student_t_quantile(0.95, 3) == 2.3533634348018233);
  BOOST_TEST(student_t_quantile(0.995, 2.5) == 7.163728138948783);
}

// ttest_1samp
BOOST_AUTO_TEST_CASE(paired_differences, *close(1e-12)) {
  const Estimate e = paired(kDifferences);
  BOOST_TEST(e.mean == 0.19);
  BOOST_TEST(e.standard_error == 0.09974968671630002);
  BOOST_TEST(e.degrees == 4.0);
  BOOST_TEST(e.p_value() == 0.12952471243236455);
  BOOST_TEST(e.low() == -0.08694952942848455);
  BOOST_TEST(e.high() == 0.46694952942848456);
  BOOST_TEST(e.low(0.9) == -0.022651049063234285);
  BOOST_TEST(e.high(0.9) == 0.4026510490632343);
  BOOST_CHECK_THROW(paired(std::vector<double>{1}), Error);
}

BOOST_AUTO_TEST_CASE(without_spread_the_mean_is_certain) {
  BOOST_TEST(paired(std::vector<double>{2, 2, 2}).p_value() == 0);
  BOOST_TEST(paired(std::vector<double>{0, 0}).p_value() == 1);
}

BOOST_AUTO_TEST_CASE(seeds_and_items, *close(1e-12)) {
  const std::vector<double> d = {1.0, 2.0, -0.5, 0.3, 0.4, 1.7, 0.2, 0.9, 1.9, 2.8, 0.1, 0.6};
  const Estimate e = two_way(d, 3, 4);
  BOOST_TEST(e.mean == 0.95);
  BOOST_TEST(e.standard_error == 0.494694069321861);
  BOOST_TEST(e.degrees == 3.471656751006517);
  BOOST_CHECK_THROW(two_way(d, 4, 4), Error);
  BOOST_CHECK_THROW(two_way(d, 1, 12), Error);
}

// Where the sum of mean squares is less than one of them, which all but rounding in the rest is.
BOOST_AUTO_TEST_CASE(the_larger_mean_square_is_the_least_variance, *close(1e-12)) {
  const std::vector<double> d = {1, -1, -1, 1};  // all in the interaction: MS_si = 4
  BOOST_TEST(two_way(d, 2, 2).standard_error == 0.0);
  const std::vector<double> by_seed = {3, 1, 0, 2};
  const Estimate e = two_way(by_seed, 2, 2);  // MS_s = 1, MS_i = 0, MS_si = 4
  BOOST_TEST(e.standard_error == 0.5);
  BOOST_TEST(e.degrees == 1.0);
}

BOOST_AUTO_TEST_CASE(redrawn_splits, *close(1e-12)) {
  BOOST_TEST(resampled(kDifferences, 0.8, 0.2).standard_error == 0.14962453007445004);
}

BOOST_AUTO_TEST_CASE(holms_correction, *close(1e-12)) {
  const auto p = holm(std::vector<double>{0.01, 0.04, 0.03, 0.005});
  const std::vector<double> expected = {0.03, 0.06, 0.06, 0.02};
  BOOST_TEST(p == expected, boost::test_tools::per_element());
  BOOST_TEST(holm(std::vector<double>{0.9, 0.8})[0] == 1);
}

BOOST_AUTO_TEST_CASE(equivalence_is_the_narrower_interval_inside) {
  const Estimate e = paired(kDifferences);  // 90 %: -0.0227 to 0.4027
  BOOST_TEST(equivalent(e, 0.41));
  BOOST_TEST(!equivalent(e, 0.40));
}

// The mean squares in NumPy.
BOOST_AUTO_TEST_CASE(components_of_variance, *close(1e-12)) {
  const std::vector<double> d = {1.0, 2.0, -0.5, 0.3, 0.4, 1.7, 0.2, 0.9, 1.9, 2.8, 0.1, 0.6};
  const Components c = components(d, 3, 4);
  BOOST_TEST(c.seeds == 0.06944444444444431);
  BOOST_TEST(c.items == 0.8155555555555555);
  BOOST_TEST(c.rest == 0.2122222222222222);
  // None of them was less than 0, so that what is expected is what was found.
  const Estimate again = expected(0.95, c, 3, 4), found = two_way(d, 3, 4);
  BOOST_TEST(again.standard_error == found.standard_error);
  BOOST_TEST(again.degrees == found.degrees);
  const Estimate paired_again = expected(0.19, components(kDifferences), 5, 0);
  BOOST_TEST(paired_again.standard_error == paired(kDifferences).standard_error);
  BOOST_TEST(paired_again.degrees == 4.0);
  const Components none = components(std::vector<double>{1, -1, -1, 1}, 2, 2);
  BOOST_TEST(none.seeds == 0.0);
  BOOST_TEST(none.items == 0.0);
}

// scipy.stats.nct, both tails, at the shift and degrees by NumPy.
BOOST_AUTO_TEST_CASE(power_of_a_test, *close(1e-9)) {
  const Components pairs{1, 0, 0}, both{0.04, 2, 8};
  BOOST_TEST(power(1.2, pairs, 17, 0, 0.05 / 12) == 0.9235277202590997);
  BOOST_TEST(power(-1.2, pairs, 16, 0, 0.05 / 12) == 0.8963440589501278);
  BOOST_TEST(power(0.5, pairs, 34, 0, 0.05) == 0.8077775012792736);
  BOOST_TEST(power(0, pairs, 5, 0, 0.05) == 0.05);
  BOOST_TEST(power(0.3, both, 10, 201, 0.05 / 16) == 0.20167599483955143);
  BOOST_TEST(power(0.3, both, 20, 201, 0.05 / 16) == 0.3233123614751189);
  BOOST_TEST(power(100, pairs, 10, 0, 0.05) == 1);
  BOOST_TEST(power(1, {0, 0, 0}, 2, 0, 0.05) == 1);
}

// The same; with 201 items a ratio of e^0.3 is not seen with this power by any number of seeds.
BOOST_AUTO_TEST_CASE(seeds_for_a_power) {
  const Components pairs{1, 0, 0}, both{0.04, 2, 8};
  BOOST_TEST(seeds_needed(1.2, pairs, 0, 0.05 / 12, 0.9) == 17);
  BOOST_TEST(seeds_needed(0.5, pairs, 0, 0.05, 0.8) == 34);
  BOOST_TEST(seeds_needed(2.6, pairs, 0, 0.05 / 12, 0.9) == 7);
  BOOST_TEST(seeds_needed(1, {0, 0, 0}, 0, 0.05, 0.9) == 2);
  BOOST_TEST(seeds_needed(0, pairs, 0, 0.05, 0.9) == 0);
  BOOST_TEST(seeds_needed(0.5, both, 201, 0.05 / 16, 0.9) == 23);
  BOOST_TEST(seeds_needed(0.3, both, 201, 0.05 / 16, 0.9) == 0);
}

// linregress
BOOST_AUTO_TEST_CASE(slopes, *close(1e-12)) {
  const std::vector<double> x = {1, 2, 3, 5}, y = {2.0, 2.9, 4.2, 5.8};
  BOOST_TEST(slope(x, y) == 0.9628571428571427);
  BOOST_CHECK_THROW(slope(std::vector<double>{1, 1}, std::vector<double>{1, 2}), Error);
}

// By a search over 300,000 places.
BOOST_AUTO_TEST_CASE(crossings) {
  const std::vector<double> x = {1, 2, 3, 4};
  const std::vector<std::vector<double>> d = {{1.0, 0.5, -0.3, -0.8},
                                              {1.2, 0.3, -0.1, -1.0},
                                              {0.9, 0.6, -0.5, -0.9},
                                              {1.1, 0.2, -0.2, -0.7}};
  const Crossing c = crossing(x, d);
  BOOST_TEST(c.found);
  BOOST_TEST(std::abs(c.low - 2.47563) < 1.0 / 1024);
  BOOST_TEST(std::abs(c.high - 2.97914) < 1.0 / 1024);
  // Never beyond the points: none excludes 0 on the other side.
  const std::vector<std::vector<double>> open = {
      {1.0, 0.5, 0.1}, {1.2, 0.3, -0.1}, {0.9, 0.6, 0.0}};
  BOOST_TEST(!crossing(std::vector<double>{1, 2, 3}, open).found);
}

BOOST_AUTO_TEST_CASE(relative_differences) {
  const std::vector<double> a = {1, -4.5}, b = {1, -4}, broken = {1, std::nan("")};
  BOOST_TEST(relative_difference(a, b) == 0.125);
  BOOST_TEST(relative_difference(broken, b) == HUGE_VAL);
  BOOST_TEST(relative_difference(broken, broken) == HUGE_VAL);
}

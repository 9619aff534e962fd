#define BOOST_TEST_MODULE index_kernels
#include <gradus/kernels/index/index.h>
#include <gradus/kernels/index/naive.h>
#include <gradus/tensor/runtime.h>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <memory>
#include <random>
#include <tuple>

#include "tests/kernels/kernel_checks.h"

using namespace gradus::test;
using namespace gradus;
using namespace gradus::kernels;
using Scalars = boost::mpl::list<float, double>;
using All = boost::mpl::list<float, double, int64_t, bool>;

namespace {

// Below and beyond a thread's share; one element for each index, and rows of them.
const IndexedAxis kAxes[] = {{1, 1, 1, 1},   {3, 5, 4, 1},      {2, 7, 9, 3},
                             {4, 3, 0, 2},   {0, 3, 2, 1},      {71, 13, 5, 7},
                             {1, 9, 40, 11}, {301, 97, 120, 1}, {19, 40, 700, 3}};

Values<int64_t> indices(int64_t count, int64_t size) {
  std::mt19937 random(3);
  Values<int64_t> index;
  for (int64_t i = 0; i < count; ++i) index.push_back(static_cast<int64_t>(random()) % size);
  return index;
}

/// A vector<bool> has no data().
template <class T>
struct Elements {
  explicit Elements(int64_t n) : size(n), data(new T[static_cast<size_t>(n)]()) {}
  static Elements drawn(int64_t n) {
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    Elements x(n);
    for (int64_t i = 0; i < n; ++i) x.data[i] = static_cast<T>(4 * normal(random));
    return x;
  }
  bool operator==(const Elements& o) const {
    return std::equal(data.get(), data.get() + size, o.data.get());
  }
  int64_t size;
  std::unique_ptr<T[]> data;
};

template <class F>
void on_several_threads(F f) {
  for (int count : {1, 2, 3}) {
    set_threads(count);
    BOOST_TEST_CONTEXT(count << " threads") f();
  }
}

template <class F>
void for_each_axis(F f) {
  for (const IndexedAxis& s : kAxes)
    BOOST_TEST_CONTEXT(s.outer << ", " << s.n << " at " << s.m << ", " << s.inner)
  on_several_threads([&] { f(s, indices(s.outer * s.m * s.inner, s.n)); });
}

/// With an index for each part of the axis; also as rows of a table.
template <class F>
void for_each_chosen_axis(F f) {
  Values<IndexedAxis> axes(std::begin(kAxes), std::end(kAxes));
  for (int64_t count : {0, 1, 5, 3001})
    for (int64_t d : {0, 1, 3, 17, 150}) axes.push_back({1, 23, count, d});
  for (const IndexedAxis& s : axes)
    BOOST_TEST_CONTEXT(s.outer << ", " << s.n << " at " << s.m << ", " << s.inner)
  on_several_threads([&] { f(s, indices(s.m, s.n)); });
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(gather_is_its_definition, T, All) {
  for_each_axis([](const IndexedAxis& s, const Values<int64_t>& index) {
    const auto x = Elements<T>::drawn(s.outer * s.n * s.inner);
    Elements<T> y(s.outer * s.m * s.inner), expected(y.size);
    gather(s, index.data(), x.data.get(), y.data.get());
    naive::gather(s, index.data(), x.data.get(), expected.data.get());
    BOOST_TEST((y == expected));
  });
}

// Sums are made in the order of the indices.
BOOST_AUTO_TEST_CASE_TEMPLATE(scatter_is_its_definition, T, Scalars) {
  for_each_axis([](const IndexedAxis& s, const Values<int64_t>& index) {
    const auto x = Elements<T>::drawn(s.outer * s.m * s.inner);
    auto y = Elements<T>::drawn(s.outer * s.n * s.inner), expected = Elements<T>::drawn(y.size);
    scatter_add(s, index.data(), x.data.get(), y.data.get());
    naive::scatter_add(s, index.data(), x.data.get(), expected.data.get());
    BOOST_TEST((y == expected));
    scatter(s, index.data(), x.data.get(), y.data.get());
    naive::scatter(s, index.data(), x.data.get(), expected.data.get());
    BOOST_TEST((y == expected));
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(parts_are_selected_as_defined, T, All) {
  for_each_chosen_axis([](const IndexedAxis& s, const Values<int64_t>& index) {
    const auto x = Elements<T>::drawn(s.outer * s.n * s.inner);
    Elements<T> y(s.outer * s.m * s.inner), expected(y.size);
    index_select(s, index.data(), x.data.get(), y.data.get());
    naive::index_select(s, index.data(), x.data.get(), expected.data.get());
    BOOST_TEST((y == expected));
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(parts_are_added_as_defined, T, Scalars) {
  for_each_chosen_axis([](const IndexedAxis& s, const Values<int64_t>& index) {
    const auto x = Elements<T>::drawn(s.outer * s.m * s.inner);
    auto y = Elements<T>::drawn(s.outer * s.n * s.inner), expected = Elements<T>::drawn(y.size);
    index_add(s, index.data(), x.data.get(), y.data.get());
    naive::index_add(s, index.data(), x.data.get(), expected.data.get());
    BOOST_TEST((y == expected));
  });
}

BOOST_AUTO_TEST_CASE(integers_are_added_as_defined) {
  for_each_axis([](const IndexedAxis& s, const Values<int64_t>& index) {
    const auto x = Elements<int64_t>::drawn(s.outer * s.m * s.inner);
    auto y = Elements<int64_t>::drawn(s.outer * s.n * s.inner),
         expected = Elements<int64_t>::drawn(y.size);
    scatter_add(s, index.data(), x.data.get(), y.data.get());
    naive::scatter_add(s, index.data(), x.data.get(), expected.data.get());
    BOOST_TEST((y == expected));
  });
  for_each_chosen_axis([](const IndexedAxis& s, const Values<int64_t>& index) {
    const auto x = Elements<int64_t>::drawn(s.outer * s.m * s.inner);
    auto y = Elements<int64_t>::drawn(s.outer * s.n * s.inner),
         expected = Elements<int64_t>::drawn(y.size);
    index_add(s, index.data(), x.data.get(), y.data.get());
    naive::index_add(s, index.data(), x.data.get(), expected.data.get());
    BOOST_TEST((y == expected));
  });
}

// With few different values, so that many are equal, NaN, infinities and both zeros among them; by
// comparisons and by digits.
BOOST_AUTO_TEST_CASE_TEMPLATE(order_is_its_definition, T, All) {
  using Limits = std::numeric_limits<T>;
  for (const auto& [outer, n, inner] :
       {std::tuple{1, 1, 1}, {3, 7, 1}, {2, 40, 3}, {2, 2047, 1}, {1, 2048, 3}, {1, 70001, 1}}) {
    auto x = Elements<T>::drawn(outer * n * inner);
    std::mt19937 random(7);
    for (int64_t i = 0; i < x.size; ++i) {
      if (random() % 3 == 0) x.data[i] = static_cast<T>(static_cast<int>(random() % 9) - 4);
      if (random() % 17 == 0) x.data[i] = random() % 2 ? Limits::max() : Limits::lowest();
      if constexpr (std::is_floating_point_v<T>) {
        if (random() % 13 == 0) x.data[i] = -T(0);
        if (random() % 19 == 0) x.data[i] = Limits::quiet_NaN();
        if (random() % 19 == 0) x.data[i] = -Limits::quiet_NaN();
        if (random() % 23 == 0) x.data[i] = -Limits::infinity();
        if (random() % 23 == 0) x.data[i] = Limits::denorm_min();
      }
    }
    for (int64_t m : {int64_t{n}, int64_t{1}, int64_t{n} / 2, int64_t{n} / 100, int64_t{0}})
      for (bool descending : {false, true})
        on_several_threads([&, n = n, s = IndexedAxis{outer, n, m, inner}] {
          const int64_t size = s.outer * s.m * s.inner;
          Elements<int64_t> index(size), expected(size);
          order(s, descending, x.data.get(), index.data.get());
          naive::order(s, descending, x.data.get(), expected.data.get());
          BOOST_TEST((index == expected), n << ", the first " << m);
        });
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(one_hot_is_its_definition, T, All) {
  for (int64_t count : {0, 1, 5, 301}) {
    const Values<int64_t> index = indices(count, 7);
    auto y = Elements<T>::drawn(count * 7);
    Elements<T> expected(count * 7);
    one_hot(count, 7, index.data(), y.data.get());
    naive::one_hot(count, 7, index.data(), expected.data.get());
    BOOST_TEST((y == expected));
  }
}

BOOST_AUTO_TEST_CASE(the_first_index_outside_is_found) {
  Values<int64_t> index = indices(101, 9);
  BOOST_TEST(first_outside(101, index.data(), 9) == 101);
  BOOST_TEST(first_outside(0, nullptr, 9) == 0);
  index[77] = 9;
  BOOST_TEST(first_outside(101, index.data(), 9) == 77);
  index[30] = -1;
  BOOST_TEST(first_outside(101, index.data(), 9) == 30);
}

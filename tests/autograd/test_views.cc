#define BOOST_TEST_MODULE views
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/inplace.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

#include "tests/checks.h"

using namespace gradus;

// Of a tensor whose elements do not lie in row-major order, too.
BOOST_AUTO_TEST_CASE(axes_of_size_one_come_and_go_without_a_copy) {
  const Tensor x = arange(24, DType::f32);
  const Tensor turned = transpose(reshape(x, {1, 4, 6}), 1, 2);  // (1, 6, 4)
  const std::vector<double> row{1, 7, 13, 19};
  for (const Tensor& view : {select(squeeze(turned, 0), 0, 1), squeeze(select(turned, 1, 1), 0),
                             select(select(unsqueeze(turned, 2), 1, 1), 0, 0)}) {
    BOOST_TEST(view.shares_storage(x));
    test::check_close("row", view, row, 0);
  }
  for (int64_t axis : {-4, 0, 1, 2, 3, -1}) {
    const Tensor more = unsqueeze(turned, axis);
    BOOST_TEST(more.shares_storage(x));
    BOOST_TEST(more.size(axis) == 1);
    test::check_close("same order", more, turned.to_vector<double>(), 0);
    BOOST_TEST((squeeze(more, axis).shape() == turned.shape()));
  }
  BOOST_TEST(unsqueeze(x, 0).is_contiguous());
}

BOOST_AUTO_TEST_CASE(a_selected_column_passes_its_gradient_on) {
  const Tensor x = sample({3, 4}, 1);
  Tape tape;
  const Tensor dx = tape.gradient(sum(square(select(transpose(x), 0, 2))), x);
  std::vector<double> expected(12);
  for (size_t i : {2, 6, 10}) expected[i] = 2 * x.to_vector<double>()[i];
  test::check_close("dx", dx, expected, 1e-14);
}

BOOST_AUTO_TEST_CASE(a_copy_between_views_of_the_same_elements) {
  Tensor x = Tensor::of({{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}, DType::f64);
  Tensor columns = raw::reshape(x, {3, 3});
  columns = transpose(columns);
  copy_(columns, x);
  test::check_close("x", x, {1, 4, 7, 2, 5, 8, 3, 6, 9}, 0);
}

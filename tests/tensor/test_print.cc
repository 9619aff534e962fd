#define BOOST_TEST_MODULE print
#include <fmt/format.h>
#include <gradus/tensor/tensor.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace gradus;

// The texts inside the brackets are what PyTorch 2.13 prints for the same values.

BOOST_AUTO_TEST_CASE(numbers_line_up) {
  BOOST_TEST(fmt::format("{}", Tensor::of({1, 2.5, -3})) ==
             "tensor([ 1.0000,  2.5000, -3.0000], f32)");
  BOOST_TEST(fmt::format("{}", Tensor::of({{1, -2}, {3, 40}}, DType::f64)) ==
             "tensor([[ 1., -2.],\n"
             "        [ 3., 40.]], f64)");
  BOOST_TEST(fmt::format("{}", Tensor::of({1e-7, NAN, INFINITY, 3e5})) ==
             "tensor([1.0000e-07,        nan,        inf, 3.0000e+05], f32)");
  BOOST_TEST(fmt::format("{}", arange(5)) == "tensor([0, 1, 2, 3, 4], i64)");
  BOOST_TEST(fmt::format("{}", Tensor::from(std::vector<int64_t>{1, -10}, {2, 1})) ==
             "tensor([[  1],\n"
             "        [-10]], i64)");
}

BOOST_AUTO_TEST_CASE(a_view_prints_its_own_elements) {
  const Tensor x = Tensor::of({{1, 2, 3}, {4, 5, 6}});
  const int64_t strides[] = {1, 3};
  BOOST_TEST(fmt::format("{}", as_strided(x, {3, 2}, strides, 0)) ==
             "tensor([[1., 4.],\n"
             "        [2., 5.],\n"
             "        [3., 6.]], f32)");
}

BOOST_AUTO_TEST_CASE(what_has_no_elements_or_no_dimensions) {
  BOOST_TEST(fmt::format("{}", full({}, 2.5)) == "tensor(2.5000, f32)");
  BOOST_TEST(fmt::format("{}", zeros({0, 3})) == "tensor([], (0, 3) f32)");
  BOOST_TEST(fmt::format("{}", Tensor()) == "tensor()");
}

BOOST_AUTO_TEST_CASE(a_long_tensor_is_shortened) {
  BOOST_TEST(fmt::format("{}", arange(1001)) ==
             "tensor([   0,    1,    2,  ...,  998,  999, 1000], i64)");
  const std::string rows = fmt::format("{}", zeros({501, 2}));
  BOOST_TEST(std::count(rows.begin(), rows.end(), '\n') == 6);
  BOOST_TEST(rows.find("[0., 0.],\n        ...,\n        [0., 0.]") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(digits_can_be_chosen) {
  BOOST_TEST(fmt::format("{:.2}", Tensor::of({0.125, 3.14159})) == "tensor([0.12, 3.14], f32)");
  BOOST_CHECK_THROW((void)fmt::format(fmt::runtime("{:8}"), zeros({2})), Error);
}

BOOST_AUTO_TEST_CASE(shapes_and_dtypes) {
  BOOST_TEST(fmt::format("{} {} {}", Shape{}, Shape{5}, Shape{3, 4}) == "() (5,) (3, 4)");
  BOOST_TEST(fmt::format("{:>6}|{}", DType::f32, DType::boolean) == "   f32|bool");
}

namespace {

/// What our formatters and fmt's own of a string make of one text.
template <class... Args>
void as_a_string(const char* format, const Args&... args) {
  const Shape shape{3, 4};
  const std::string of_string = fmt::format(fmt::runtime(format), std::string("(3, 4)"), args...);
  BOOST_TEST(fmt::format(fmt::runtime(format), shape, args...) == of_string);
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_has_a_text_is_formatted_as_a_string) {
  for (const char* format :
       {"{}", "{:}", "{:10}", "{:<10}|", "{:>10}", "{:^10}", "{:*^10}", "{:\u00e9>10}", "{:.3}",
        "{:10.3}", "{:.>9.2}", "{:s}", "{:8s}", "{0:7}", "{0:7} {0}", "{:.0}"})
    as_a_string(format);
  for (const char* format : {"{:{}}", "{:>{}}|", "{:.{}}", "{:*^{}.3}", "{:12.{}}", "{0:{1}}",
                             "{0:>{1}.{1}}", "{:{}} ", "{0:{1}} {1} {0}"})
    as_a_string(format, 9);
  for (const char* format :
       {"{:{}.{}}", "{:>{}.{}}", "{0:{1}.{2}}", "{0:{2}.{1}}", "{:{}} {}", "{:{}.{}s}|"})
    as_a_string(format, 11, 2);
  as_a_string("{:{width}}", fmt::arg("width", 8));
  as_a_string("{0:{width}.{most}}", fmt::arg("width", 8), fmt::arg("most", 2));
  BOOST_TEST(fmt::format("{:>{}} {:<{}}|", DType::f32, 6, Shape{2}, 5) == "   f32 (2,) |");
  BOOST_TEST(fmt::format("{:{}.{}}{}", Shape{3, 4}, 6, 2, DType::i64) == "(3    i64");
  // What is wrong for a string is wrong here.
  for (const char* format : {"{:{}{}}", "{:1{}}", "{:{}1}", "{:0{}}", "{:d}", "{:.{}.{}}", "{:{}",
                             "{:.}", "{:{}.{}.{}}", "{:{9}}"}) {
    BOOST_CHECK_THROW((void)fmt::format(fmt::runtime(format), std::string(), 1, 2, 3),
                      std::runtime_error);
    BOOST_CHECK_THROW((void)fmt::format(fmt::runtime(format), Shape{3}, 1, 2, 3),
                      std::runtime_error);
  }
  BOOST_CHECK_THROW((void)fmt::format(fmt::runtime("{:{}}"), Shape{3}, -1), std::runtime_error);
  BOOST_CHECK_THROW((void)fmt::format(fmt::runtime("{:{}}"), Shape{3}, "x"), std::runtime_error);
  BOOST_CHECK_THROW((void)fmt::format(fmt::runtime("{:{}}"), Shape{3}), std::runtime_error);
}

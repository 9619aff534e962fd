#define BOOST_TEST_MODULE elements
#include <gradus/tensor/random.h>

#include <boost/mp11.hpp>
#include <boost/test/unit_test.hpp>
#include <limits>
#include <string>

#include "tests/checks.h"

// Which C++ types a tensor can be made from and read as, and what becomes of numbers that the dtype
// or the type cannot hold.
using namespace gradus;
using test::says;

namespace {

using Integers =
    boost::mp11::mp_list<signed char, char, unsigned char, short, unsigned short, int, unsigned,
                         long, unsigned long, long long, unsigned long long, wchar_t, char16_t>;

template <class T>
concept Makes = requires(std::vector<T> values) {
  Tensor::from(values, Shape{1});
};
template <class T>
concept ReadAs = requires(const Tensor& x) {
  x.to_vector<T>();
};

static_assert(Makes<float> && Makes<double> && Makes<bool> && Makes<int> && Makes<uint64_t>);
static_assert(!Makes<long double> && !Makes<std::string> && !Makes<void*> && !Makes<Shape>);
static_assert(ReadAs<uint8_t> && !ReadAs<long double> && !ReadAs<const char*>);

}  // namespace

BOOST_AUTO_TEST_CASE(integers_of_every_type_are_i64) {
  boost::mp11::mp_for_each<Integers>([]<class T>(T) {
    using Limits = std::numeric_limits<T>;
    const T large = Limits::max() / (sizeof(T) == 8 && !Limits::is_signed ? 2 : 1);
    const std::vector<T> values{0, 1, 7, large, Limits::min()};
    const Tensor x = Tensor::from(values, {5});
    BOOST_TEST((x.dtype() == DType::i64));
    for (size_t i = 0; i < values.size(); ++i)
      BOOST_TEST(x.data<int64_t>()[i] == static_cast<int64_t>(values[i]));
    BOOST_TEST((x.template to_vector<T>() == values));
    BOOST_TEST(
        (Tensor::from(std::span<const T>(values), {5, 1}).template to_vector<T>() == values));
  });
}

BOOST_AUTO_TEST_CASE(the_other_types_keep_theirs) {
  BOOST_TEST((Tensor::from(std::vector<float>{0.5f}, {1}).dtype() == DType::f32));
  BOOST_TEST((Tensor::from(std::vector<double>{0.1}, {1}).to_vector<double>() ==
              std::vector<double>{0.1}));
  const std::vector<bool> flags{true, false, true};
  const Tensor mask = Tensor::from(flags, {3});
  BOOST_TEST((mask.dtype() == DType::boolean));
  BOOST_TEST((mask.to_vector<bool>() == flags));
  BOOST_TEST((mask.to_vector<int>() == std::vector<int>{1, 0, 1}));
}

BOOST_AUTO_TEST_CASE(a_number_that_does_not_fit_is_an_error) {
  const uint64_t beyond = uint64_t{1} << 63;
  BOOST_CHECK_EXCEPTION(Tensor::from(std::vector<uint64_t>{beyond}, {1}), Error,
                        says("Tensor::from: i64 cannot hold 9223372036854775808"));
  BOOST_CHECK_EXCEPTION(Tensor::from(std::vector<int>{1, 2}, {3}), Error,
                        says("Tensor::from: 2 values for shape (3,)"));
  const Tensor x = Tensor::from(std::vector<int>{-1, 300}, {2});
  BOOST_CHECK_EXCEPTION(x.to_vector<uint8_t>(), Error, says("to_vector: -1 does not fit"));
  BOOST_CHECK_EXCEPTION(x.to_vector<uint64_t>(), Error, says("to_vector: -1 does not fit"));
  BOOST_CHECK_EXCEPTION(x.to_vector<int8_t>(), Error, says("to_vector: 300 does not fit"));
  BOOST_TEST((x.to_vector<int16_t>() == std::vector<int16_t>{-1, 300}));
  BOOST_CHECK_EXCEPTION(x.data<float>(), Error, says("data: the tensor's dtype is i64, not f32"));
  for (const double value : {1.0 * INFINITY, -1.0 * INFINITY, 1.0 * NAN, 0x1p63, -1e30})
    BOOST_CHECK_EXCEPTION(raw::cast(Tensor::of({0, value}, DType::f64), DType::i64), Error,
                          says("is no number of dtype i64"));
  const Tensor reals = Tensor::of({-0x1p63, 1.5, -1.5}, DType::f64);
  BOOST_TEST((raw::cast(reals, DType::i64).to_vector<int64_t>() ==
              std::vector<int64_t>{std::numeric_limits<int64_t>::min(), 1, -1}));
}

// PyTorch 2.13 refuses the same, but for fractions of i64, which it cuts off.
BOOST_AUTO_TEST_CASE(numbers_that_a_dtype_cannot_hold) {
  BOOST_CHECK_EXCEPTION(full({2}, 1e300), Error, says("full: 1e+300 is no number of dtype f32"));
  BOOST_CHECK_EXCEPTION(full({2}, 0.5, DType::i64), Error, says("full: 0.5 is no number"));
  BOOST_CHECK_EXCEPTION(full({2}, INFINITY, DType::i64), Error, says("full: inf is no number"));
  BOOST_TEST(full({}, 1e300, DType::f64).item() == 1e300);
  BOOST_TEST(full({}, 0.1).item() == double{0.1f});
  BOOST_TEST(full({}, -INFINITY).item() == -INFINITY);
  BOOST_TEST(full({}, 2, DType::boolean).item() == 1);
  BOOST_TEST(full({}, NAN, DType::boolean).item() == 1);
}

BOOST_AUTO_TEST_CASE(large_integers_are_printed_whole) {
  const int64_t odd = (int64_t{1} << 53) + 1;
  BOOST_TEST(fmt::format("{}", Tensor::from(std::vector{odd, -odd}, {2})) ==
             "tensor([ 9007199254740993, -9007199254740993], i64)");
}

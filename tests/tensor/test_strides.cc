#define BOOST_TEST_MODULE strides
#include <gradus/tensor/random.h>

#include <map>

#include "tests/checks.h"
#include "tests/layouts.h"

using namespace gradus;
using test::says;

namespace {

/// How many of x's elements lie in each place of its memory, counted from `origin`.
std::map<int64_t, int> places(const Tensor& x, const float* origin) {
  std::map<int64_t, int> count;
  for (int64_t k = 0; k < x.numel(); ++k) {
    const Shape at = unravel(k, x.shape());
    int64_t place = x.strided_data<float>() - origin;
    for (int i = 0; i < x.ndim(); ++i) place += at[i] * x.strides()[i];
    ++count[place];
  }
  return count;
}

/// A view of up to 4 axes somewhere in the memory, its strides small or nested.
Tensor any_view(const Tensor& memory, Generator& generator) {
  for (;;) {
    const auto below = [&](uint64_t n) { return static_cast<int64_t>(generator.below(n)); };
    const int64_t ndim = below(5), offset = below(40);
    Shape shape;
    std::vector<int64_t> strides;
    int64_t reach = 0;
    for (int64_t i = 0; i < ndim; ++i) {
      shape.push_back(below(5));
      strides.push_back(below(2) ? below(7) : reach + below(3));
      reach += std::max<int64_t>(0, shape.back() - 1) * strides.back();
    }
    if (offset + reach < memory.numel()) return as_strided(memory, shape, strides, offset);
  }
}

bool is_writable(const Tensor& x) {
  try {
    raw::check_writable("test", x);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(memory_is_given_out_in_row_major_order_or_not_at_all) {
  const Tensor values = arange(24, DType::f32);
  for (const Shape& shape : {Shape{2, 3, 4}, Shape{4, 1, 6}, Shape{3, 8}}) {
    const Tensor x = raw::reshape(values, shape);
    for (const test::Layout& layout : test::layouts(shape)) {
      BOOST_TEST_CONTEXT(str(shape) << " " << layout.name) {
        Tensor y = test::laid_out(x, layout);
        const std::vector<float> expected = y.to_vector<float>();
        const uint32_t version = y.version();
        if (y.is_contiguous()) {
          BOOST_TEST(std::vector<float>(y.data<float>(), y.data<float>() + 24) == expected);
          BOOST_TEST(y.mutable_data<float>() == y.data<float>());
          BOOST_TEST((y.mutable_bytes() == y.bytes()));
          BOOST_TEST(y.version() == version + 2);
        } else {
          const auto message = says("not in row-major order");
          BOOST_CHECK_EXCEPTION(y.data<float>(), Error, message);
          BOOST_CHECK_EXCEPTION(y.mutable_data<float>(), Error, message);
          BOOST_CHECK_EXCEPTION(y.bytes(), Error, message);
          BOOST_CHECK_EXCEPTION(y.mutable_bytes(), Error, message);
          BOOST_TEST(y.version() == version);
        }
        BOOST_TEST(*y.strided_data<float>() == expected[0]);
        BOOST_CHECK_EXCEPTION(y.strided_data<double>(), Error, says("f32, not f64"));
        BOOST_TEST(is_writable(y) == !layout.shared);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_shares_memory_is_found) {
  const Tensor memory = zeros({200}), other = zeros({200});
  Generator generator(7);
  int shared = 0, overlapping = 0;
  for (int k = 0; k < 20000; ++k) {
    const Tensor a = any_view(memory, generator), b = any_view(memory, generator);
    const auto in_a = places(a, memory.data<float>()), in_b = places(b, memory.data<float>());
    bool twice = false, common = false;
    for (const auto& [place, count] : in_a) {
      twice = twice || count > 1;
      common = common || in_b.contains(place);
    }
    shared += twice;
    overlapping += common;
    BOOST_TEST(is_writable(a) == !twice, str(a.shape()));
    BOOST_TEST(raw::overlap(a, b) == common);
    BOOST_TEST(!raw::overlap(a, other));
  }
  BOOST_TEST(shared > 1000);
  BOOST_TEST(shared < 19000);
  BOOST_TEST(overlapping > 1000);
  BOOST_TEST(overlapping < 19000);
}

// However many elements it has.
BOOST_AUTO_TEST_CASE(an_expanded_tensor_is_known_at_once) {
  const Tensor wide = raw::expand(zeros({1, 3}), {int64_t{1} << 40, 3});
  BOOST_TEST(!is_writable(wide));
  BOOST_CHECK_EXCEPTION(raw::check_writable("copy_", Tensor(wide).set_name("tied")), Error,
                        says("copy_: elements of tied (1099511627776, 3) f32, which lie (0, 1)"));
}

#pragma once
#include <fcntl.h>
#include <gradus/tensor/tensor.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace gradus::test {

/// Marks a case that does the same things very often, for other seeds or numbers of threads:
/// sanitizers, which learn nothing from it, leave it out.
inline const auto repeats = boost::unit_test::label("repeats");

/// Whether an Error's message contains `text`: for BOOST_CHECK_EXCEPTION.
inline auto says(std::string text) {
  return [text](const Error& e) {
    const bool found = std::string(e.what()).find(text) != std::string::npos;
    if (!found) BOOST_TEST_MESSAGE("the message was: " << e.what());
    return found;
  };
}

/// How many processes are killed: GRADUS_KILLS, or so many.
inline int kills_of(int usual) {
  const char* const given = std::getenv("GRADUS_KILLS");
  return given ? std::atoi(given) : usual;
}

/// Whether a file that others are replaced with is there, and nobody writes it.
inline bool partial_files_are_left(const std::filesystem::path& folder = ".") {
  return std::any_of(std::filesystem::directory_iterator(folder), {}, [&](const auto& entry) {
    if (entry.path().extension() != ".partial") return false;
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    const bool left = file >= 0 && ::flock(file, LOCK_EX | LOCK_NB) == 0;
    ::close(file);
    return left;
  });
}

/// |y - expected| <= tolerance max(1, |expected|) for every element, in row-major order.
inline void check_close(const std::string& what, const Tensor& y,
                        const std::vector<double>& expected, double tolerance) {
  const std::vector<double> values = y.to_vector<double>();
  BOOST_TEST_REQUIRE(values.size() == expected.size(), what);
  for (size_t i = 0; i < values.size(); ++i)
    BOOST_TEST(
        std::abs(values[i] - expected[i]) <= tolerance * std::max(1.0, std::abs(expected[i])),
        what << ": element " << i << ": " << values[i] << ", not " << expected[i]);
}

/// a sin(b) + shift, a sin(2 b) + shift, ...: f64 inputs that a PyTorch script can repeat.
inline Tensor wave(const Shape& shape, double a, double b, double shift = 0) {
  Tensor x = empty(shape, DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i)
    x.mutable_data<double>()[i] = a * std::sin(b * static_cast<double>(i + 1)) + shift;
  return x;
}

}  // namespace gradus::test

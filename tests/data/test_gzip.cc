// Gzip (RFC 1952): members one behind the other, and nothing behind them but zeros.
#define BOOST_TEST_MODULE gzip
#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/data/gzip.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <string>

#include "tests/checks.h"

using namespace gradus;
using namespace std::string_literals;
using test::says;

namespace {

// By Python's gzip.compress(text, mtime=0).
const std::string kHello =
    "\x1f\x8b\x08\0\0\0\0\0\x02\x03\xcb\x48\xcd\xc9\xc9\x57\0\0\xf6\xf9\x81\xed\x06\0\0\0"s;
const std::string kWorld =
    "\x1f\x8b\x08\0\0\0\0\0\x02\x03\x2b\xcf\x2f\xca\x49\x01\0\x43\x11\x77\x3a\x05\0\0\0"s;
const std::string kNothing = "\x1f\x8b\x08\0\0\0\0\0\x02\x03\x03\0\0\0\0\0\0\0\0\0"s;

std::string unpacked(const std::string& bytes) {
  return MaybeGzipped("it", reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size())
      .read();
}

}  // namespace

BOOST_AUTO_TEST_CASE(members_follow_each_other) {
  BOOST_TEST(unpacked(kHello) == "hello ");
  BOOST_TEST(unpacked(kNothing).empty());
  BOOST_TEST(unpacked(kHello + kNothing + kWorld) == "hello world");
  BOOST_TEST(unpacked(kNothing + kHello + std::string(1000, '\0')) == "hello ");
  std::string many, text;
  for (int i = 0; i < 10'000; ++i) many += kWorld, text += "world";
  BOOST_TEST((unpacked(many) == text));  // members lie across the pieces that are read
}

BOOST_AUTO_TEST_CASE(what_is_not_packed_is_as_it_is) {
  for (const std::string& text : {""s, "\x1f"s, "hello"s, std::string(200'000, 'x')})
    BOOST_TEST((unpacked(text) == text));
}

BOOST_AUTO_TEST_CASE(it_is_read_in_pieces) {
  const std::string bytes = kHello + kWorld;
  MaybeGzipped packed("it", reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  std::string text;
  for (int i = 0; i < 11; ++i) text += packed.read(1);
  BOOST_TEST(text == "hello world");
  BOOST_TEST(packed.read(1).empty());
  BOOST_TEST(packed.read().empty());
}

BOOST_AUTO_TEST_CASE(damage_is_told) {
  for (size_t n = 2; n < kHello.size(); ++n)
    BOOST_CHECK_EXCEPTION(unpacked(kHello.substr(0, n)), Error, says("truncated or damaged"));
  for (size_t n = 2; n < kWorld.size(); ++n)
    BOOST_CHECK_THROW(unpacked(kHello + kWorld.substr(0, n)), Error);
  for (size_t i = 10; i < kHello.size(); ++i) {
    std::string wrong = kHello;
    wrong[i] = static_cast<char>(wrong[i] ^ 0x11);
    BOOST_CHECK_THROW(unpacked(wrong), Error);
  }
  for (const std::string& junk : {"x"s, "\0\0x"s, "\x1f"s, "\x1f\x8c"s, "\0"s + kWorld})
    BOOST_CHECK_EXCEPTION(unpacked(kHello + junk), Error, says("more behind the gzip data of 6"));
}

BOOST_AUTO_TEST_CASE(files_say_what_the_system_says) {
  BOOST_CHECK_EXCEPTION(MaybeGzipped("/none/such"), Error,
                        says("/none/such: cannot be opened: No"));
  BOOST_CHECK_EXCEPTION(MaybeGzipped("/"), Error, says("/: cannot be read: Is a directory"));
  const std::string path =
      std::filesystem::temp_directory_path() / fmt::format("gradus-test-gzip-{}", ::getpid());
  write_file(path, [](std::ostream& out) { out << kHello << kWorld; });
  BOOST_TEST(MaybeGzipped(path).read() == "hello world");
  std::filesystem::remove(path);
}

#define BOOST_TEST_MODULE vocabulary
#include <gradus/base/file.h>
#include <gradus/data/sequences.h>
#include <gradus/data/vocabulary.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <ostream>

#include "tests/checks.h"

using namespace gradus;
using test::says;
using Strings = std::vector<std::string>;

BOOST_AUTO_TEST_CASE(a_text_is_cut_into_characters_and_words) {
  BOOST_TEST((characters("a\xc3\xa9 \xf0\x9f\x98\x80\n") ==
              Strings{"a", "\xc3\xa9", " ", "\xf0\x9f\x98\x80", "\n"}));
  BOOST_TEST(characters("").empty());
  BOOST_TEST((words("It's  caf\xc3\xa9_2,\n\tnot\x0b??") ==
              Strings{"It", "'", "s", "caf\xc3\xa9_2", ",", "not", "?", "?"}));
  BOOST_TEST(words(" \n").empty());
  BOOST_CHECK_EXCEPTION(characters("\xc3"), Error, says("characters: the text is not UTF-8"));
  BOOST_CHECK_EXCEPTION(words("\xff"), Error, says("words: the text is not UTF-8"));
}

BOOST_AUTO_TEST_CASE(tokens_have_ids) {
  const std::string text = "the cat, the dog";
  const Vocabulary letters = Vocabulary::of(characters(text));
  BOOST_TEST((letters.tokens() == Strings{" ", ",", "a", "c", "d", "e", "g", "h", "o", "t"}));
  const Tensor ids = letters.encode(characters(text));
  BOOST_TEST((ids.shape() == Shape{16} && ids.dtype() == DType::i64));
  BOOST_TEST((letters.encode({"c", "a"}).to_vector<int>() == std::vector{3, 2}));
  BOOST_TEST(letters.decode(ids) == text);
  BOOST_TEST(letters.decode(raw::reshape(ids, {2, 8})) == text);
  BOOST_CHECK_EXCEPTION(letters.id("x"), Error,
                        says("\"x\" is none of the 10 tokens, nor is <unk>"));
  BOOST_CHECK_EXCEPTION(letters.token(10), Error, says("no token 10 of 10"));
  BOOST_CHECK_EXCEPTION(letters.token(-1), Error, says("no token -1"));
  BOOST_CHECK_EXCEPTION(letters.decode(ones({1})), Error, says("ids must be i64, are f32"));

  const Strings all = words(text + " the cat <unk>");
  const auto tokens = [&](const VocabularyOptions& options) {
    return Vocabulary::of(all, options).tokens();
  };
  BOOST_TEST((tokens({.at_least = 2}) == Strings{"cat", "the"}));
  BOOST_TEST(
      (tokens({.special = {"<pad>", "<unk>"}, .most = 1}) == Strings{"<pad>", "<unk>", "the"}));
  BOOST_TEST((tokens({.special = {"the"}, .most = 1}) == Strings{"the", "cat"}));
  BOOST_TEST((tokens({.most = 3}) == Strings{",", "cat", "the"}));  // the first of equal ones
  const Vocabulary some = Vocabulary::of(all, {.special = {"<pad>", "<unk>"}, .at_least = 2});
  BOOST_TEST((some.encode(words("the dog")).to_vector<int>() == std::vector{3, 1}));
  BOOST_TEST(some.decode(some.encode(words("the dog")), " ") == "the <unk>");
  BOOST_TEST((some.has("cat") && !some.has("dog")));
  BOOST_CHECK_EXCEPTION(Vocabulary({"a", "b", "a"}), Error, says("tokens 0 and 2 are both \"a\""));
  BOOST_CHECK_EXCEPTION(Vocabulary({"\xff"}), Error, says("token 0 is not UTF-8"));
  BOOST_CHECK_EXCEPTION(Vocabulary::of({}, {.at_least = 0}), Error, says("at least 0 times"));
}

BOOST_AUTO_TEST_CASE(it_comes_back_from_its_file) {
  const std::string path = "test_vocabulary_" + std::to_string(::getpid());
  const Strings tokens{"<unk>", "", " ", "\n", "\r\n", "\"", "a,b", "\xc3\xa9", "\t"};
  Vocabulary(tokens).save(path);
  BOOST_TEST((Vocabulary::load(path).tokens() == tokens));
  BOOST_TEST(Vocabulary::load(path).id("other") == 0);
  Vocabulary().save(path);
  BOOST_TEST(Vocabulary::load(path).size() == 0);
  write_file(path, [](std::ostream& file) { file << "token\na\na\n"; });
  BOOST_CHECK_EXCEPTION(Vocabulary::load(path), Error, says("in " + path + ": Vocabulary: tokens"));
  write_file(path, [](std::ostream& file) { file << "word\na\n"; });
  BOOST_CHECK_EXCEPTION(Vocabulary::load(path), Error, says("there is no column \"token\""));
  std::filesystem::remove(path);
}

BOOST_AUTO_TEST_CASE(windows_and_what_follows) {
  using Ids = std::vector<int>;
  const auto windows = [](int64_t tokens, int64_t length, int64_t step) {
    const Dataset data = next_token_windows(arange(tokens), length, step);
    BOOST_TEST((data.x.shape() == data.y.shape() && data.x.size(1) == length));
    Ids x = data.x.to_vector<int>();
    for (int& id : x) ++id;
    BOOST_TEST(data.y.to_vector<int>() == x);
    return data.x.to_vector<int>();
  };
  BOOST_TEST((windows(7, 3, 0) == Ids{0, 1, 2, 3, 4, 5}));
  BOOST_TEST((windows(6, 3, 0) == Ids{0, 1, 2}));  // of the next window the last answer is missing
  BOOST_TEST((windows(6, 3, 2) == Ids{0, 1, 2, 2, 3, 4}));
  BOOST_TEST((windows(5, 1, 3) == Ids{0, 3}));
  BOOST_TEST((windows(2, 1, INT64_MAX) == Ids{0}));
  BOOST_CHECK_EXCEPTION(windows(3, 3, 0), Error, says("windows of 3 tokens, 0 apart, of 3"));
  BOOST_CHECK_EXCEPTION(windows(3, 0, 1), Error, says("windows of 0 tokens"));
  BOOST_CHECK_EXCEPTION(windows(3, 1, -1), Error, says("-1 apart"));
  BOOST_CHECK_EXCEPTION(next_token_windows(ones({3}), 1), Error, says("must be (L) i64"));
}

#include <gradus/base/detail/json.h>
#include <gradus/data/csv.h>
#include <gradus/data/vocabulary.h>

#include <algorithm>
#include <map>

namespace gradus {

namespace {

constexpr std::string_view kUnknown = "<unk>", kColumn = "token";

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool is_of_a_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

/// Whether the byte goes on with a code point of UTF-8.
bool goes_on(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::vector<std::string> characters(std::string_view text) {
  check(detail::is_utf8(text), "characters: the text is not UTF-8");
  std::vector<std::string> result;
  for (const char c : text) {
    if (goes_on(c))
      result.back() += c;
    else
      result.emplace_back(1, c);
  }
  return result;
}

std::vector<std::string> words(std::string_view text) {
  check(detail::is_utf8(text), "words: the text is not UTF-8");
  std::vector<std::string> result;
  bool within = false;
  for (const char c : text) {
    if (within && is_of_a_word(c))
      result.back() += c;
    else if (!is_space(c))
      result.emplace_back(1, c);
    within = is_of_a_word(c);
  }
  return result;
}

Vocabulary::Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (!detail::is_utf8(tokens_[i]))
      fail("Vocabulary: token {} is not UTF-8: {}", i, detail::json(tokens_[i]));
    const auto [known, is_new] = ids_.emplace(tokens_[i], static_cast<int64_t>(i));
    if (!is_new)
      fail("Vocabulary: tokens {} and {} are both {}", known->second, i, detail::json(tokens_[i]));
  }
}

Vocabulary Vocabulary::of(const std::vector<std::string>& tokens,
                          const VocabularyOptions& options) {
  check(options.at_least >= 1 && options.most >= 0,
        "Vocabulary: tokens that are there at least {} times, {} at most; needs 1 and 0 or more",
        options.at_least, options.most);
  std::map<std::string_view, int64_t> counts;
  for (const std::string& token : tokens) ++counts[token];
  for (const std::string& token : options.special) counts.erase(token);
  std::vector<std::pair<std::string_view, int64_t>> kept;
  for (const auto& one : counts)
    if (one.second >= options.at_least) kept.push_back(one);
  const auto most = static_cast<size_t>(options.most);
  if (most > 0 && kept.size() > most) {
    std::ranges::stable_sort(kept, std::ranges::greater(),
                             [](const auto& one) { return one.second; });
    kept.resize(most);
    std::ranges::sort(kept);
  }
  std::vector<std::string> all = options.special;
  for (const auto& one : kept) all.emplace_back(one.first);
  return Vocabulary(std::move(all));
}

int64_t Vocabulary::id(std::string_view token) const {
  auto found = ids_.find(std::string(token));
  if (found == ids_.end()) found = ids_.find(std::string(kUnknown));
  if (found == ids_.end())
    fail("Vocabulary: {} is none of the {} tokens, nor is {}, which would stand for it",
         detail::json(token), size(), kUnknown);
  return found->second;
}

const std::string& Vocabulary::token(int64_t id) const& {
  check(id >= 0 && id < size(), "Vocabulary: there is no token {} of {}, they count from 0", id,
        size());
  return tokens_[static_cast<size_t>(id)];
}

Tensor Vocabulary::encode(const std::vector<std::string>& tokens) const {
  Tensor ids = empty({static_cast<int64_t>(tokens.size())}, DType::i64);
  int64_t* to = ids.mutable_data<int64_t>();
  for (const std::string& token : tokens) *to++ = id(token);
  return ids;
}

std::string Vocabulary::decode(const Tensor& ids, std::string_view between) const {
  check(ids.dtype() == DType::i64, "Vocabulary: ids must be i64, are {}", name(ids.dtype()));
  std::string text;
  bool first = true;
  for (const int64_t id : ids.to_vector<int64_t>()) {
    if (!std::exchange(first, false)) text += between;
    text += token(id);
  }
  return text;
}

void Vocabulary::save(const std::string& path) const {
  save_csv(path, {{std::string(kColumn), tokens_}});
}

Vocabulary Vocabulary::load(const std::string& path) {
  std::vector<std::string> tokens = load_csv(path).text(kColumn);
  const ErrorContext context(path);
  return Vocabulary(std::move(tokens));
}

}  // namespace gradus

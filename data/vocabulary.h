#pragma once
#include <gradus/tensor/tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gradus {

/// A text's characters, which are Unicode's code points; a text that is not UTF-8 is an error.
std::vector<std::string> characters(std::string_view text);

/// A text's words, which are runs of letters, digits and "_" (and of all that is not ASCII), and
/// what stands between them, each character for itself, but for white space.
std::vector<std::string> words(std::string_view text);

/// Which tokens a vocabulary is made of.
struct VocabularyOptions {
  std::vector<std::string> special = {};  ///< come first, e.g. "<pad>", "<unk>"
  int64_t at_least = 1;                   ///< how often a token has to be there
  int64_t most = 0;                       ///< how many, the most frequent; 0: all
};

/// Tokens (characters, words, a column's categories) and their ids, which count from 0. One that is
/// not in it is an error, unless it has the token "<unk>": then it gets that one's id.
class Vocabulary {
 public:
  Vocabulary() = default;
  /// These tokens, in their order. One that is there twice or is not UTF-8 is an error.
  explicit Vocabulary(std::vector<std::string> tokens);
  /// The different ones of a text's or a column's tokens, in the order of their bytes.
  static Vocabulary of(const std::vector<std::string>& tokens,
                       const VocabularyOptions& options = {});

  /// How many tokens.
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }
  const std::vector<std::string>& tokens() const& { return tokens_; }
  std::vector<std::string> tokens() const&& { return tokens_; }
  /// Whether the token itself is in it.
  bool has(std::string_view token) const { return ids_.contains(std::string(token)); }
  /// A token's id, and an id's token.
  int64_t id(std::string_view token) const;
  const std::string& token(int64_t id) const&;
  std::string token(int64_t id) const&& { return token(id); }

  /// The ids of tokens.   result: (N) i64
  Tensor encode(const std::vector<std::string>& tokens) const;
  /// The tokens of ids, of any shape, in row-major order, with `between` between them.
  std::string decode(const Tensor& ids, std::string_view between = "") const;

  /// A CSV file with one column, "token", in the order of the ids.
  void save(const std::string& path) const;
  static Vocabulary load(const std::string& path);

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int64_t> ids_;
};

}  // namespace gradus

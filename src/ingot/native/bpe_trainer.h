// Training of a byte-pair vocabulary: counted words, then the merges of their most frequent pairs.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bpe_encoder.h"

namespace ingot {

// Distinct words of a text with their numbers of occurrences.
class WordCounts {
 public:
  struct Hash {
    using is_transparent = void;  // looks a word up without a copy of it
    size_t operator()(std::string_view word) const { return WordCache::hash(word); }
  };
  using Words = std::unordered_map<std::string, int64_t, Hash, std::equal_to<>>;

  WordCounts(SplitRules rules, size_t max_bytes) : rules_(rules), max_bytes_(max_bytes) {}

  // Count the words of a text; false, and nothing is done, if the distinct words are full already.
  bool add(std::string_view text);

  const Words& words() const { return words_; }

 private:
  SplitRules rules_;
  size_t max_bytes_;  // of distinct words
  size_t bytes_ = 0;
  Words words_;
};

// The merges of a vocabulary of at most `vocab_size` tokens, in their order. The same as those of
// the tokenizers' library: the most frequent pair goes first, of equal ones that of lower ids.
// `bytes`: the token of each byte. `tokens`: how many there are without merges; ids from there on
// are given to the merges.
std::vector<Merge> train_merges(const WordCounts& counts, const std::array<uint32_t, 256>& bytes,
                                uint32_t tokens, uint32_t vocab_size);

}  // namespace ingot

// Cutting of text into words, each of which becomes tokens by itself.
#pragma once

#include <cstdint>
#include <string_view>

#include "unicode_classes.h"

namespace ingot {

// What differs between the split patterns of this family: Ingot's own, Llama 3's and Qwen's.
struct SplitRules {
  int64_t most_digits = 3;                 // in a word
  int64_t longest_run = int64_t{1} << 62;  // of letters, punctuation or white space
};

// The words of a text in UTF-8, which must be valid. It does what this pattern does:
//   '(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
//   |\s*[\r\n]|\s+(?!\S)|\s+
class WordSplitter {
 public:
  WordSplitter(std::string_view text, SplitRules rules)
      : classes_(char_classes()), at_(text.data()), end_(at_ + text.size()), rules_(rules) {}

  // Take the next word; false at the end of the text.
  bool next(std::string_view& word) {
    if (at_ == end_) return false;
    const char* start = at_;
    at_ = end_of_word(start);
    word = {start, static_cast<size_t>(at_ - start)};
    return true;
  }

 private:
  struct Char {
    CharClass kind;
    const char* after;  // where the next one begins
  };

  Char char_at(const char* at) const;
  const char* end_of_word(const char* start) const;
  const char* end_of_run(const char* at, CharClass kind, int64_t most) const;
  const char* end_of_contraction(const char* start) const;
  const char* end_of_space(const char* start) const;

  const CharClass* classes_;
  const char* at_;
  const char* end_;
  SplitRules rules_;
};

}  // namespace ingot

#include "bpe_trainer.h"

#include <algorithm>
#include <utility>

namespace ingot {

namespace {

using Pair = uint64_t;  // left and right token; pairs compare by the left one first

Pair pair_of(uint32_t left, uint32_t right) { return Pair{left} << 32 | right; }

struct PairCount {
  int64_t count = 0;
  std::vector<uint32_t> gained;  // words in which the last merge has made this pair
};

struct Candidate {
  int64_t count;
  Pair pair;
  std::vector<uint32_t> words;                    // those that may hold it
  bool operator<(const Candidate& other) const {  // the heap's top is the largest
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

struct Word {
  size_t begin, length;  // in the list of all words' tokens
  int64_t count;
};

class Training {
 public:
  Training(const WordCounts& counts, const std::array<uint32_t, 256>& bytes, uint32_t tokens)
      : token_bytes_(tokens) {
    for (size_t byte = 0; byte < bytes.size(); ++byte) {
      token_bytes_[bytes[byte]] = std::string(1, static_cast<char>(byte));
      ids_[token_bytes_[bytes[byte]]] = bytes[byte];
    }
    for (const auto& [word, count] : counts.words()) {
      words_.push_back({tokens_.size(), word.size(), count});
      for (const char byte : word) tokens_.push_back(bytes[static_cast<unsigned char>(byte)]);
    }
  }

  std::vector<Merge> run(uint32_t vocab_size) {
    count_pairs();
    std::vector<Merge> merges;
    while (token_bytes_.size() < vocab_size && !candidates_.empty()) {
      Candidate best = take();
      const int64_t count = pairs_[best.pair].count;
      if (best.count != count) {
        best.count = count;
        push(std::move(best));
        continue;
      }
      if (count < 1) break;
      const auto left = static_cast<uint32_t>(best.pair >> 32);
      const auto right = static_cast<uint32_t>(best.pair);
      merges.push_back({left, right, id_of(token_bytes_[left] + token_bytes_[right])});
      for (const uint32_t word : best.words) apply(merges.back(), word);
      offer_changed();
    }
    return merges;
  }

 private:
  void count_pairs() {
    for (uint32_t number = 0; number < words_.size(); ++number) {
      const Word& word = words_[number];
      const uint32_t* tokens = &tokens_[word.begin];
      for (size_t at = 0; at + 1 < word.length; ++at) {
        change(pair_of(tokens[at], tokens[at + 1]), 1, number);
      }
    }
    offer_changed();
  }

  // Replace the merge's pair in a word.
  void apply(const Merge& merge, uint32_t number) {
    Word& word = words_[number];
    uint32_t* tokens = &tokens_[word.begin];
    size_t kept = 0;
    for (size_t at = 0; at < word.length; ++at, ++kept) {
      tokens[kept] = tokens[at];
      if (tokens[at] != merge.left || at + 1 == word.length || tokens[at + 1] != merge.right)
        continue;
      if (kept > 0) {
        change(pair_of(tokens[kept - 1], merge.left), -1, number);
        change(pair_of(tokens[kept - 1], merge.made), 1, number);
      }
      ++at;
      tokens[kept] = merge.made;
      if (at + 1 < word.length) {
        change(pair_of(merge.right, tokens[at + 1]), -1, number);
        change(pair_of(merge.made, tokens[at + 1]), 1, number);
      }
    }
    word.length = kept;
  }

  void change(Pair pair, int sign, uint32_t number) {
    PairCount& found = pairs_[pair];
    found.count += sign * words_[number].count;
    if (sign < 0 || (!found.gained.empty() && found.gained.back() == number)) return;
    if (found.gained.empty()) changed_.push_back(pair);
    found.gained.push_back(number);
  }

  // Make candidates of the pairs that the last merge has made.
  void offer_changed() {
    for (const Pair pair : changed_) {
      PairCount& found = pairs_[pair];
      std::vector<uint32_t> words = std::exchange(found.gained, {});
      if (found.count > 0) push({found.count, pair, std::move(words)});
    }
    changed_.clear();
  }

  void push(Candidate candidate) {
    candidates_.push_back(std::move(candidate));
    std::push_heap(candidates_.begin(), candidates_.end());
  }

  Candidate take() {
    std::pop_heap(candidates_.begin(), candidates_.end());
    Candidate best = std::move(candidates_.back());
    candidates_.pop_back();
    return best;
  }

  // Return the token of these bytes, a new one unless another merge has made it already.
  uint32_t id_of(const std::string& bytes) {
    const auto [place, added] = ids_.try_emplace(bytes, static_cast<uint32_t>(token_bytes_.size()));
    if (added) token_bytes_.push_back(bytes);
    return place->second;
  }

  std::vector<std::string> token_bytes_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::vector<uint32_t> tokens_;
  std::vector<Word> words_;
  std::unordered_map<Pair, PairCount> pairs_;
  std::vector<Pair> changed_;
  std::vector<Candidate> candidates_;
};

}  // namespace

bool WordCounts::add(std::string_view text) {
  if (bytes_ >= max_bytes_) return false;
  WordSplitter splitter(text, rules_);
  for (std::string_view word; splitter.next(word);) {
    const auto found = words_.find(word);
    if (found != words_.end()) {
      ++found->second;
    } else {
      words_.emplace(word, 1);
      bytes_ += word.size();
    }
  }
  return true;
}

std::vector<Merge> train_merges(const WordCounts& counts, const std::array<uint32_t, 256>& bytes,
                                uint32_t tokens, uint32_t vocab_size) {
  return Training(counts, bytes, tokens).run(vocab_size);
}

}  // namespace ingot

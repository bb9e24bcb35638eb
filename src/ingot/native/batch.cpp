#include "batch.h"

#include <stdexcept>
#include <string>

namespace ingot {
namespace {

[[noreturn]] void refuse(size_t chunk, const std::string& what) {
  throw std::out_of_range("chunk " + std::to_string(chunk) + ": " + what);
}

void check_tokens(size_t index, const Sampling& s, int64_t vocabulary) {
  if (s.given < -1 || s.given >= vocabulary) refuse(index, "the given token does not exist");
  const Adjustment& adjust = s.adjustment;
  if (adjust.factors.size() != adjust.ids.size() || adjust.shifts.size() != adjust.ids.size())
    refuse(index, "an adjustment's parts differ in length");
  for (const int32_t token : adjust.ids)
    if (token < 0 || token >= vocabulary) refuse(index, "an adjusted token does not exist");
  const auto words = static_cast<size_t>((vocabulary + 31) / 32);
  if (!s.mask.empty() && s.mask.size() < words) refuse(index, "the mask is too short");
}

void check_sampling(size_t index, const Sampling& s) {
  // Written so that NaN fails too.
  if (!(s.temperature >= 0 && s.temperature <= 1e6)) refuse(index, "temperature out of range");
  if (!(s.top_p > 0 && s.top_p <= 1)) refuse(index, "top_p out of range");
  if (!(s.min_p >= 0 && s.min_p <= 1)) refuse(index, "min_p out of range");
  if (!(s.typical_p > 0 && s.typical_p <= 1)) refuse(index, "typical_p out of range");
  if (s.top_k < 0) refuse(index, "top_k is negative");
}

void check_chunk(size_t index, const Chunk& chunk, const Limits& limits) {
  const auto count = static_cast<int64_t>(chunk.tokens.size());
  if (count == 0) refuse(index, "has no tokens");
  if (chunk.start < 0 || chunk.start > limits.positions - count)
    refuse(index, "runs to position " + std::to_string(chunk.start + count) + ", the context has " +
                      std::to_string(limits.positions));
  for (const int32_t token : chunk.tokens)
    if (token < 0 || token >= limits.vocabulary)
      refuse(index, "token " + std::to_string(token) + " is not one of " +
                        std::to_string(limits.vocabulary));
  const int64_t needed = (chunk.start + count + limits.block_size - 1) / limits.block_size;
  if (static_cast<int64_t>(chunk.blocks.size()) < needed)
    refuse(index, "needs " + std::to_string(needed) + " blocks, was given " +
                      std::to_string(chunk.blocks.size()));
  for (const int32_t block : chunk.blocks.first(static_cast<size_t>(needed)))
    if (block < 0 || block >= limits.blocks)
      refuse(index,
             "block " + std::to_string(block) + " is not one of " + std::to_string(limits.blocks));
  if (chunk.rows.size() > chunk.tokens.size()) refuse(index, "asks for more tokens than it has");
  if (chunk.hidden && !chunk.rows.empty()) refuse(index, "asks for tokens and hidden states");
  for (const Sampling& row : chunk.rows) {
    check_sampling(index, row);
    check_tokens(index, row, limits.drawn_vocabulary);
  }
}

}  // namespace

int64_t Batch::rows() const {
  int64_t total = 0;
  for (const Chunk& chunk : chunks) total += static_cast<int64_t>(chunk.tokens.size());
  return total;
}

void check(const Batch& batch, const Limits& limits) {
  for (size_t i = 0; i < batch.chunks.size(); ++i) check_chunk(i, batch.chunks[i], limits);
}

}  // namespace ingot

// One engine step: chunks of several sequences, checked before anything touches memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sampling.h"

namespace ingot {

// Consecutive tokens of one sequence: a piece of prefill, or one decode.
struct Chunk {
  std::span<const int32_t> tokens;
  int64_t start = 0;                // position of the first
  std::span<const int32_t> blocks;  // the sequence's cache blocks
  std::vector<Sampling> rows = {};  // asked for after the last so many tokens, in order
  bool hidden = false;              // whether the last hidden states are asked for instead
};

struct Batch {
  std::vector<Chunk> chunks;
  int64_t rows() const;
};

struct Limits {
  int64_t vocabulary, drawn_vocabulary, positions, blocks, block_size;
};

// Throws std::out_of_range naming the first thing that is wrong.
void check(const Batch& batch, const Limits& limits);

}  // namespace ingot

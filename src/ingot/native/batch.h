// The input of one engine step: tokens of several sequences, checked before they touch memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sampling.h"

namespace ingot {

// Consecutive tokens of one sequence: a chunk of prefill, or one decode.
struct ModelInput {
  std::span<const int32_t> token_ids;
  int64_t start = 0;                     // position of the first token
  std::span<const int32_t> block_table;  // the sequence's cache blocks, in order
  std::vector<SamplingRow> rows = {};    // one for each of the last tokens, in order
  bool hidden = false;                   // return the last hidden states instead
};

struct Batch {
  std::vector<ModelInput> inputs;
};

struct Limits {
  int64_t vocabulary, sampled_vocabulary, positions, blocks, block_size;
};

// Throws std::invalid_argument that names the first input that cannot be run, and why.
void check(const Batch& batch, const Limits& limits);

}  // namespace ingot

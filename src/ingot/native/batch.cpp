#include "batch.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace ingot {
namespace {

[[noreturn]] void refuse(size_t index, const std::string& what) {
  throw std::invalid_argument("input " + std::to_string(index) + ": " + what);
}

void check_tokens(size_t index, const SamplingRow& row, int64_t vocabulary) {
  if (row.forced_token < kNoToken || row.forced_token >= vocabulary)
    refuse(index, "the forced token does not exist");
  if (row.logprobs < -1) refuse(index, "logprobs is negative");
  const Adjustment& adjust = row.adjustment;
  if (adjust.factors.size() != adjust.ids.size() || adjust.shifts.size() != adjust.ids.size())
    refuse(index, "the parts of an adjustment differ in length");
  for (const int32_t token : adjust.ids)
    if (token < 0 || token >= vocabulary) refuse(index, "an adjusted token does not exist");
  // A NaN among the scores would break the order that sorting relies on.
  for (const double factor : adjust.factors)
    if (!(std::isfinite(factor) && factor > 0)) refuse(index, "a factor is not finite or not > 0");
  for (const double shift : adjust.shifts)
    if (!std::isfinite(shift)) refuse(index, "a shift is not finite");
  const auto words = static_cast<size_t>((vocabulary + 31) / 32);
  if (!row.mask.empty() && row.mask.size() < words) refuse(index, "the mask is too short");
}

void check_filters(size_t index, const SamplingRow& row) {
  // Written so that NaN fails too.
  if (!(row.temperature >= 0 && row.temperature <= 1e6)) refuse(index, "temperature out of range");
  if (!(row.top_p > 0 && row.top_p <= 1)) refuse(index, "top_p out of range");
  if (!(row.min_p >= 0 && row.min_p <= 1)) refuse(index, "min_p out of range");
  if (!(row.typical_p > 0 && row.typical_p <= 1)) refuse(index, "typical_p out of range");
  if (row.top_k < 0) refuse(index, "top_k is negative");
}

void check_blocks(size_t index, const ModelInput& input, const Limits& limits) {
  const auto end = input.start + static_cast<int64_t>(input.token_ids.size());
  const int64_t needed = (end + limits.block_size - 1) / limits.block_size;
  if (static_cast<int64_t>(input.block_table.size()) < needed)
    refuse(index, "needs " + std::to_string(needed) + " blocks, got " +
                      std::to_string(input.block_table.size()));
  for (const int32_t block : input.block_table.first(static_cast<size_t>(needed)))
    if (block < 0 || block >= limits.blocks)
      refuse(index,
             "block " + std::to_string(block) + " is not one of " + std::to_string(limits.blocks));
}

void check_input(size_t index, const ModelInput& input, const Limits& limits) {
  const auto count = static_cast<int64_t>(input.token_ids.size());
  if (count == 0) refuse(index, "has no tokens");
  // Compared without adding to `start`, which may be near the largest integer.
  if (input.start < 0 || count > limits.positions || input.start > limits.positions - count)
    refuse(index, std::to_string(count) + " tokens from position " + std::to_string(input.start) +
                      " on do not fit in a context of " + std::to_string(limits.positions));
  for (const int32_t token : input.token_ids)
    if (token < 0 || token >= limits.vocabulary)
      refuse(index, "token " + std::to_string(token) + " is not one of " +
                        std::to_string(limits.vocabulary));
  check_blocks(index, input, limits);
  if (input.rows.size() > input.token_ids.size()) refuse(index, "has more rows than tokens");
  if (input.hidden && !input.rows.empty()) refuse(index, "requests both tokens and hidden states");
  for (const SamplingRow& row : input.rows) {
    check_filters(index, row);
    check_tokens(index, row, limits.sampled_vocabulary);
  }
}

}  // namespace

void check(const Batch& batch, const Limits& limits) {
  for (size_t i = 0; i < batch.inputs.size(); ++i) check_input(i, batch.inputs[i], limits);
}

}  // namespace ingot

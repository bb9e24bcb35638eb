// What attention's kernels share whatever the numbers: which rows and tokens a block has, and who
// sees whom.
#pragma once

#include <algorithm>
#include <cmath>

#include "attention.h"
#include "vector.h"

namespace ingot {
namespace {

constexpr int64_t kQueriesAtOnce = 32;  // whose scores are held
constexpr float kLowest = -3.0e38f;

int64_t up_to_16(int64_t n) { return (n + 15) / 16 * 16; }

float scale_of(const AttentionShape& shape) {
  return 1.0f / std::sqrt(static_cast<float>(shape.width));
}

// Where the rows of one head of one window lie: `stride` numbers from one token to the next.
template <class Value>
struct Rows {
  const Value* first;
  int64_t stride;
  const Value* row(int64_t token) const { return first + token * stride; }
};

struct Part {
  const AttentionShape& shape;
  int64_t window, key_head;

  int64_t group() const { return shape.query_heads / shape.key_heads; }
  int64_t offset(int64_t head, int64_t heads) const {
    return (window * shape.tokens * heads + head) * shape.width;
  }
  template <class Value>
  Rows<Value> of_key(const Value* p) const {
    return {p + offset(key_head, shape.key_heads), shape.key_heads * shape.width};
  }
  template <class Value>
  Rows<Value> of_query(const Value* p, int64_t head) const {
    return {p + offset(head, shape.query_heads), shape.query_heads * shape.width};
  }
};

// Some rows of queries and the tokens that any of them sees, whole tiles.
struct Block {
  Block(const Part& part, const int32_t* all_starts, int64_t first_row)
      : first(first_row), rows(std::min(kQueriesAtOnce, part.shape.tokens - first_row)) {
    starts = all_starts ? all_starts + part.window * part.shape.tokens : nullptr;
    int64_t lowest = first + rows;
    for (int64_t r = 0; r < rows; ++r) lowest = std::min(lowest, start(r));
    begin = lowest / 16 * 16;
    end = up_to_16(first + rows);
  }
  int64_t start(int64_t r) const { return starts ? starts[first + r] : 0; }
  // Which of sixteen tokens from `token` on row r sees.
  I32x16 seen(int64_t r, int64_t token) const {
    const I32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const auto from = static_cast<int32_t>(start(r) - token);
    const auto last = static_cast<int32_t>(first + r - token);
    return (lane >= from) & (lane <= last);
  }
  int64_t tiles() const { return (end - begin) / 16; }

  int64_t first, rows, begin, end;
  const int32_t* starts;
};

// Sixteen scores of row r, the lowest number where it does not see.
inline F32x16 masked(const Block& block, int64_t r, int64_t token, const float* scores,
                     float scale) {
  const F32x16 s = load(scores + token) * scale;
  if (token + 15 <= block.first + r && token >= block.start(r)) return s;
  return select(block.seen(r, token), s, splat(kLowest));
}

}  // namespace
}  // namespace ingot

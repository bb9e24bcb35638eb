#include "measure.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "buffer.h"
#include "kv_cache.h"

namespace ingot {
namespace {

template <class Work>
double least_seconds(int repeats, Work&& work) {
  using Clock = std::chrono::steady_clock;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= repeats; ++i) {  // the first run only fills caches
    const auto start = Clock::now();
    work();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (i > 0) least = std::min(least, seconds);
  }
  return least;
}

}  // namespace

double seconds_to_read(int64_t bytes, int threads, int repeats) {
  using Words = uint64_t __attribute__((vector_size(64)));
  constexpr int64_t kPart = 1 << 20, kAhead = 4096;
  Buffer<uint8_t> memory;
  const uint8_t* const from = memory.at_least(bytes);
  madvise(memory.get(), static_cast<size_t>(bytes), MADV_HUGEPAGE);
  std::memset(memory.get(), 1, static_cast<size_t>(bytes));
  ThreadPool pool(threads);
  std::vector<uint64_t> sums(static_cast<size_t>(bytes / kPart));
  return least_seconds(repeats, [&] {
    pool.run(bytes / kPart, [&](int64_t part) {
      Words total[4] = {};
      for (int64_t at = part * kPart; at < (part + 1) * kPart; at += 4 * sizeof(Words))
        for (int lane = 0; lane < 4; ++lane) {
          // As the kernels do: hardware prefetching stops at the end of a page.
          __builtin_prefetch(from + at + kAhead + lane * static_cast<int64_t>(sizeof(Words)));
          Words words;
          std::memcpy(&words, from + at + lane * static_cast<int64_t>(sizeof(Words)),
                      sizeof(words));
          total[lane] += words;
        }
      const Words all = total[0] + total[1] + total[2] + total[3];
      sums[static_cast<size_t>(part)] =
          all[0] ^ all[7];  // keeps the compiler from removing the loads
    });
  });
}

double seconds_to_multiply(const Matrix& matrix, int64_t rows, const Kernels& kernels, int threads,
                           int repeats) {
  ThreadPool pool(threads);
  PreparedRows prepared;
  prepared.resize(matrix, rows);
  std::vector<float> x(static_cast<size_t>(matrix.inputs));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8;
  for (int64_t row = 0; row < rows; ++row) prepared.set(kernels, row, x.data());
  Buffer<float> out;
  out.at_least(rows * matrix.outputs);
  return least_seconds(repeats,
                       [&] { multiply(kernels, pool, matrix, prepared, rows, out.get(), false); });
}

double seconds_to_attend(const HeadShape& heads, CacheFormat format, int64_t context,
                         int64_t sequences, const Kernels& kernels, int threads, int repeats) {
  constexpr int64_t kBlock = 16;
  const int64_t blocks = (context + kBlock - 1) / kBlock;
  ThreadPool pool(threads);
  KvCache cache(format, 1, blocks * sequences, kBlock, heads.keys, heads.width);
  std::vector<float> x(static_cast<size_t>(heads.width), 0.25f);
  std::vector<int32_t> tables(static_cast<size_t>(blocks * sequences));
  std::iota(tables.begin(), tables.end(), 0);
  for (int64_t head = 0; head < heads.keys; ++head)
    for (int64_t token = 0; token < blocks * sequences * kBlock; ++token) {
      const int64_t at = token / kBlock * cache.block_bytes(), inside = token % kBlock;
      kernels.store_key(x.data(), heads.width, format, inside, cache.keys(0, head) + at,
                        cache.key_scales(0, head) + at);
      kernels.store_value(x.data(), heads.width, format, inside, cache.values(0, head) + at,
                          cache.value_scales(0, head) + at);
    }
  const int32_t token = 0;
  Batch batch;
  for (int64_t i = 0; i < sequences; ++i) {
    batch.inputs.push_back({.token_ids = {&token, 1},
                            .start = context - 1,
                            .block_table = std::span(tables).subspan(
                                static_cast<size_t>(i * blocks), static_cast<size_t>(blocks))});
  }
  const AttentionPlan plan(batch, heads);
  const int64_t width = heads.queries * heads.width;
  std::vector<float> q(static_cast<size_t>(sequences * width), 0.1f), out(q.size());
  const AttentionJob job{
      .layer = 0, .window = 0, .q = q.data(), .stride = width, .out = out.data()};
  return least_seconds(repeats, [&] { plan.run(kernels, pool, cache, job); });
}

double most_byte_products(const Kernels& kernels, int threads) {
  constexpr int64_t kRounds = 20'000'000;
  ThreadPool pool(threads);
  std::vector<int64_t> done(static_cast<size_t>(pool.threads()));
  const double seconds = least_seconds(3, [&] {
    pool.run(pool.threads(),
             [&](int64_t i) { done[static_cast<size_t>(i)] = kernels.multiply_bytes(kRounds); });
  });
  return static_cast<double>(std::accumulate(done.begin(), done.end(), int64_t{0})) / seconds;
}

}  // namespace ingot

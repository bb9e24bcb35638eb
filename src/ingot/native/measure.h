// Measurements of the machine's limits and of the kernels, for benchmarks alone.
#pragma once

#include "attention.h"
#include "kernels.h"
#include "linear.h"

namespace ingot {

// Each returns the least seconds of `repeats` runs on `threads` threads.

// Reading `bytes` of memory once.
double seconds_to_read(int64_t bytes, int threads, int repeats);

// `rows` rows of activations times a matrix, without their preparation.
double seconds_to_multiply(const Matrix& matrix, int64_t rows, const Kernels& kernels, int threads,
                           int repeats);

// One decode of `sequences` sequences of `context` tokens each: attention in one layer.
double seconds_to_attend(const HeadShape& heads, CacheFormat format, int64_t context,
                         int64_t sequences, const Kernels& kernels, int threads, int repeats);

// Multiply-adds of bytes a second, from registers to registers: the limit of every product.
double most_byte_products(const Kernels& kernels, int threads);

}  // namespace ingot

// Tasks that may run out of memory.
#pragma once

#include <atomic>
#include <new>

#include "thread_pool.h"

namespace ingot {

// As ThreadPool::run; a std::bad_alloc in a task, whichever thread it is on, is thrown at the end.
template <class Task>
void run_safely(ThreadPool& pool, int64_t count, Task&& task) {
  std::atomic<bool> failed{false};
  pool.run(count, [&](int64_t i) {
    try {
      task(i);
    } catch (const std::bad_alloc&) {
      failed.store(true);
    }
  });
  if (failed.load()) throw std::bad_alloc();
}

}  // namespace ingot

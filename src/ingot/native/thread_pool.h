// A pool of threads that run the tasks of one job at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace ingot {

// run() gives each index to exactly one thread and returns when all are done. The caller works too
// and waits only for tasks that a worker has begun, so a worker that sleeps or was descheduled
// delays nothing. Workers spin for a moment after a job, then sleep until the next. Only one thread
// may call run() at a time. Any thread may run any index, so the result of a task must not depend
// on which thread runs it.
class ThreadPool {
 public:
  // `threads` includes the caller; 0 means one for each CPU this process may use. Where `pinned`,
  // each worker stays on a CPU of its own as far as there are any, the first one excluded, which is
  // left to the caller. Throws std::system_error where the system has no more threads.
  explicit ThreadPool(int threads, bool pinned = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Asks one worker to take no task until it is called off, for 10 ms at most, so that a thread
  // outside the pool finds a free CPU. Otherwise the system would stop a worker in the middle of a
  // task, and all others would wait for it. Any thread may call it.
  void yield_cpu(bool on);

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(i) for every i in [0, count). Where tasks throw, one of their exceptions is thrown
  // again when all have ended.
  template <class Task>
  void run(int64_t count, Task&& task) {
    if (count <= 0) return;
    if (count == 1 || workers_.empty()) {
      for (int64_t i = 0; i < count; ++i) task(i);
      return;
    }
    using Plain = std::remove_reference_t<Task>;
    run_shared(
        count, [](void* context, int64_t i) { (*static_cast<Plain*>(context))(i); },
        const_cast<std::remove_const_t<Plain>*>(&task));
  }

 private:
  using Call = void (*)(void* context, int64_t index);

  void stop();
  void run_shared(int64_t count, Call call, void* context);
  void run_task(int64_t index) noexcept;
  void work(bool may_yield);
  void wait_while_yielding();
  bool take_one();
  void sleep_until_changed(uint64_t seen);

  // The current job in one word: epoch, count, next index. A worker claims an index with one atomic
  // addition and learns from the same word whether that index is valid.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> finished_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> yielding_{false};
  std::mutex yield_mutex_;
  std::condition_variable yield_ended_;
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;  // of the current job
  std::vector<std::thread> workers_;
};

}  // namespace ingot

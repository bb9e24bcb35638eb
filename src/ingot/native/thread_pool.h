// A pool of threads that share out the tasks of one job at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace ingot {

// run() gives each index to exactly one thread and returns when all are done. The caller works
// too, and waits only for tasks that a worker has really begun: a worker that sleeps or was
// descheduled delays nobody. Workers spin for a moment after a job, then sleep until the next.
// One thread may call run() at a time. Which thread runs an index is left to chance, so a task
// must compute its outputs alone.
class ThreadPool {
 public:
  // `threads` counts the caller; 0 means one for each CPU this process may use. Where `pinned`,
  // each worker stays on a CPU of its own as far as they go, the first being left to the caller.
  explicit ThreadPool(int threads, bool pinned = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Asks one worker to take no task until further notice, a few milliseconds at most, so that a
  // thread outside the pool finds a CPU free instead of stopping a worker in the middle of a task,
  // for which all others would wait. Any thread may call it.
  void make_way(bool on);

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(i) for every i in [0, count).
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

  void run_shared(int64_t count, Call call, void* context);
  void work(bool makes_way);
  void wait_aside();
  bool take_one();
  void sleep_until_changed(uint64_t seen);

  // One word says which job runs and what is left of it: epoch, count, next index. A worker
  // claims an index with one atomic addition and learns from the same word whether it was valid.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> finished_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> making_way_{false};
  std::mutex aside_;
  std::condition_variable way_is_free_;
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::vector<std::thread> workers_;
};

}  // namespace ingot

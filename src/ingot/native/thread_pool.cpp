#include "thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace ingot {
namespace {

constexpr int kIndexBits = 24;
constexpr uint64_t kIndexMask = (uint64_t{1} << kIndexBits) - 1;
// The most tasks shared at once. Each late worker adds one to the index field past its count; half
// of the field is left for them, so that it never overflows into the count.
constexpr int64_t kMostTasks = int64_t{1} << (kIndexBits - 1);
// Long enough to bridge the Python between two steps, short enough that an idle engine costs
// nothing.
constexpr auto kSpinTime = std::chrono::microseconds(100);
// Longer than a burst of socket writes; a worker that is not called back resumes by itself.
constexpr auto kLongestYield = std::chrono::milliseconds(10);

uint64_t next_of(uint64_t ticket) { return ticket & kIndexMask; }
uint64_t count_of(uint64_t ticket) { return (ticket >> kIndexBits) & kIndexMask; }
uint64_t epoch_of(uint64_t ticket) { return ticket >> (2 * kIndexBits); }

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

std::vector<int> cpus_allowed() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

void pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // Fails where the CPU was taken away meanwhile; the thread then runs unpinned.
  sched_setaffinity(0, sizeof(set), &set);
}

}  // namespace

ThreadPool::ThreadPool(int threads, bool pinned) {
  const std::vector<int> cpus = cpus_allowed();
  const auto wanted = threads > 0 ? static_cast<size_t>(threads) : std::max<size_t>(1, cpus.size());
  workers_.reserve(wanted - 1);
  for (size_t i = 1; i < wanted; ++i) {
    const int cpu = pinned && i < cpus.size() ? cpus[i] : -1;
    // Where the pool leaves CPUs free anyway, no worker needs to yield.
    const bool may_yield = i + 1 == wanted && wanted >= cpus.size();
    try {
      workers_.emplace_back([this, cpu, may_yield] {
        if (cpu >= 0) pin_this_thread(cpu);
        work(may_yield);
      });
    } catch (...) {
      stop();  // destroying a thread that runs would end the process
      throw;
    }
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping_.store(true);
  ticket_.fetch_add(uint64_t{1} << (2 * kIndexBits));
  ticket_.notify_all();
  yield_cpu(false);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::yield_cpu(bool on) {
  {
    const std::lock_guard<std::mutex> lock(yield_mutex_);
    yielding_.store(on);
  }
  if (!on) yield_ended_.notify_all();
}

void ThreadPool::run_shared(int64_t count, Call call, void* context) {
  call_ = call;
  context_ = context;
  for (; count > kMostTasks; --count) run_task(count - 1);
  finished_.store(0, std::memory_order_relaxed);
  const uint64_t epoch = epoch_of(ticket_.load(std::memory_order_relaxed)) + 1;
  ticket_.store((epoch << (2 * kIndexBits)) | (static_cast<uint64_t>(count) << kIndexBits));
  if (sleepers_.load() > 0) ticket_.notify_all();
  while (take_one()) {
  }
  for (int spins = 0; finished_.load(std::memory_order_acquire) != count; ++spins) {
    if (spins < 4096) {
      relax();
    } else {
      sched_yield();  // the worker that has not finished may need this very CPU
    }
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

bool ThreadPool::take_one() {
  const uint64_t seen = ticket_.load(std::memory_order_acquire);
  if (next_of(seen) >= count_of(seen)) return false;
  const uint64_t mine = ticket_.fetch_add(1, std::memory_order_acq_rel);
  // Only the claimed word tells whether the index is valid. Where it is, the job cannot end, nor
  // its fields change, before this index is finished.
  if (next_of(mine) >= count_of(mine)) return false;
  run_task(static_cast<int64_t>(next_of(mine)));
  finished_.fetch_add(1, std::memory_order_release);
  return true;
}

// Keeps what a task throws for run(): an exception that left a worker would end the process, and
// one that left run() early would end the job's variables while others still use them.
void ThreadPool::run_task(int64_t index) noexcept {
  try {
    call_(context_, index);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(failure_mutex_);
    failure_ = std::current_exception();
  }
}

void ThreadPool::work(bool may_yield) {
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  int spins = 0;
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (may_yield && yielding_.load(std::memory_order_relaxed)) wait_while_yielding();
    if (take_one()) {
      spins = 0;
      continue;
    }
    if (spins++ == 0) last = Clock::now();
    relax();
    if (spins % 64 == 0 && Clock::now() - last > kSpinTime) {
      sleep_until_changed(ticket_.load());
      spins = 0;
    }
  }
}

void ThreadPool::wait_while_yielding() {
  std::unique_lock<std::mutex> lock(yield_mutex_);
  yield_ended_.wait_for(lock, kLongestYield, [this] { return !yielding_.load(); });
  yielding_.store(false);
}

void ThreadPool::sleep_until_changed(uint64_t seen) {
  sleepers_.fetch_add(1);
  if (next_of(seen) >= count_of(seen) && !stopping_.load()) ticket_.wait(seen);
  sleepers_.fetch_sub(1);
}

}  // namespace ingot

// Scratch memory: grows when asked, never shrinks, aligned for vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace ingot {

template <class Value>
class Buffer {
 public:
  // At least `count` values; uninitialized, and lost when the buffer has to grow.
  Value* at_least(int64_t count) {
    if (count > count_) {
      memory_.reset();
      count_ = 0;
      memory_.reset(static_cast<Value*>(
          ::operator new(static_cast<size_t>(count) * sizeof(Value), kAlignment)));
      count_ = count;
    }
    return memory_.get();
  }
  Value* get() const { return memory_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(Value* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<Value, Free> memory_;
  int64_t count_ = 0;
};

}  // namespace ingot

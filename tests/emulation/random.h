// The numbers that everything shuffled here is shuffled with.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace generous::emulation {

class Random {
 public:
  explicit Random(std::uint64_t seed = 0) { start(seed); }
  void start(std::uint64_t seed) { state_ = seed * 0x9E3779B97F4A7C15U + 0xD1B54A32D192ED03U; }

  std::uint32_t next() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::uint32_t>((state_ ^ (state_ >> 22)) >> (22 + (state_ >> 61)));
  }
  /// In [0, count).
  std::size_t below(std::size_t count) {
    return static_cast<std::size_t>((std::uint64_t{next()} * count) >> 32);
  }
  template <class T>
  void shuffle(T* values, std::size_t count) {
    for (std::size_t i = count; i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::uint64_t state_ = 0;
};

}  // namespace generous::emulation

// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// 2011). A number is a pure function of a key (seed and purpose) and a counter (epoch, sample, element):
// never of threads, workers or the order of calls.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/host_device.h"

namespace generous {

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// Philox4x32 with ten rounds: 128 random bits for a 64-bit key and a 128-bit counter.
GENEROUS_HOST_DEVICE inline PhiloxBlock philox(std::uint64_t key, PhiloxBlock counter) {
  auto key0 = static_cast<std::uint32_t>(key);
  auto key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = 0xD2511F53ULL * counter[0];
    const std::uint64_t product1 = 0xCD9E8D57ULL * counter[2];
    counter = {
        static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<std::uint32_t>(product1),
        static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

/// Uniform in [0, 1) with 24 random bits.
GENEROUS_HOST_DEVICE inline float uniform01(std::uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24F;
}

/// The key of one stream of random numbers: different seeds or purposes give unrelated streams.
std::uint64_t random_key(std::uint64_t seed, std::string_view purpose);

/// One stream, addressed by (epoch, sample, element).
class Random {
 public:
  Random(std::uint64_t seed, std::string_view purpose) : key_(random_key(seed, purpose)) {}

  /// 128 random bits for this place in the stream.
  PhiloxBlock bits(std::uint32_t epoch, std::uint32_t sample, std::uint64_t element) const {
    return philox(key_, {static_cast<std::uint32_t>(element), static_cast<std::uint32_t>(element >> 32),
                         sample, epoch});
  }
  /// Uniform in [0, 1).
  float uniform(std::uint32_t epoch, std::uint32_t sample, std::uint64_t element) const {
    return uniform01(bits(epoch, sample, element)[0]);
  }
  /// Uniform integer in [0, bound), without bias beyond 2^-32; bound >= 1.
  std::uint32_t below(std::uint32_t bound, std::uint32_t epoch, std::uint32_t sample,
                      std::uint64_t element) const {
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(bits(epoch, sample, element)[0]) * bound) >>
                                      32);
  }
  /// Standard normal (Box-Muller).
  float normal(std::uint32_t epoch, std::uint32_t sample, std::uint64_t element) const;

  std::uint64_t key() const { return key_; }

 private:
  std::uint64_t key_;
};

}  // namespace generous

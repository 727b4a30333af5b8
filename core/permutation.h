// A random order of the numbers 0, 1, ..., count - 1 that is never stored: where a number stands in it is a
// function of the number and a key. A Feistel cipher of an even number of bits permutes a power of four; what
// leaves [0, count) is enciphered again until it is back (Black and Rogaway, "Ciphers with arbitrary finite
// domains", 2002).
#pragma once

#include <cstdint>

#include "core/random.h"

namespace generous {

/// A hash of 32 bits with a key: the finaliser of MurmurHash3.
GENEROUS_HOST_DEVICE inline std::uint32_t mix_bits(std::uint32_t x, std::uint32_t key) {
  x ^= key;
  x = (x ^ (x >> 16)) * 0x85EBCA6BU;
  x = (x ^ (x >> 13)) * 0xC2B2AE35U;
  return x ^ (x >> 16);
}

struct Permutation {
  std::uint64_t count;
  PhiloxBlock keys;  ///< one for each round
  int half_bits;     ///< the smallest with 4^half_bits >= count

  GENEROUS_HOST_DEVICE Permutation(std::int64_t numbers, const PhiloxBlock& round_keys)
      : count(static_cast<std::uint64_t>(numbers)), keys(round_keys), half_bits(1) {
    while ((std::uint64_t{1} << (2 * half_bits)) < count) ++half_bits;
  }
  /// The place of `number` in [0, count), in [0, count).
  GENEROUS_HOST_DEVICE std::int64_t operator()(std::int64_t number) const {
    const std::uint32_t mask = (1U << half_bits) - 1U;
    auto value = static_cast<std::uint64_t>(number);
    do {
      auto left = static_cast<std::uint32_t>(value >> half_bits);
      auto right = static_cast<std::uint32_t>(value) & mask;
      for (int round = 0; round < 4; ++round) {
        const std::uint32_t next = left ^ (mix_bits(right, keys[static_cast<std::size_t>(round)]) & mask);
        left = right;
        right = next;
      }
      value = (static_cast<std::uint64_t>(left) << half_bits) | right;
    } while (value >= count);
    return static_cast<std::int64_t>(value);
  }
};

}  // namespace generous

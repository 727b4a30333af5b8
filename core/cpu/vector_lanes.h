// Sixteen floats at a time. A kernel over channels is written once, as a lambda on a vector type, and runs on
// Lanes for every full group of sixteen channels and on float for those left over.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/dtype.h"

namespace generous {

constexpr std::int64_t lane_count = 16;
using Lanes = float __attribute__((vector_size(lane_count * sizeof(float))));
using LaneBits = std::uint32_t __attribute__((vector_size(lane_count * sizeof(std::uint32_t))));
using HalfLaneBits = std::uint16_t __attribute__((vector_size(lane_count * sizeof(std::uint16_t))));

template <class V>
V load(const float* address) {
  V value;
  std::memcpy(&value, address, sizeof(V));
  return value;
}

template <class V>
V load(const bfloat16* address) {
  if constexpr (std::is_same_v<V, float>) {
    return static_cast<float>(*address);
  } else {
    HalfLaneBits upper;
    std::memcpy(&upper, address, sizeof(upper));
    return std::bit_cast<Lanes>(__builtin_convertvector(upper, LaneBits) << 16);
  }
}

template <class V>
void store(float* address, V value) {
  std::memcpy(address, &value, sizeof(V));
}

/// Rounds like the constructor of bfloat16.
template <class V>
void store(bfloat16* address, V value) {
  if constexpr (std::is_same_v<V, float>) {
    *address = bfloat16(value);
  } else {
    const auto u = std::bit_cast<LaneBits>(value);
    const LaneBits rounded = (u + 0x7fffU + ((u >> 16) & 1U)) >> 16;
    const LaneBits quiet_nan = (u >> 16) | 0x40U;
    const auto upper = __builtin_convertvector(value == value ? rounded : quiet_nan, HalfLaneBits);
    std::memcpy(static_cast<void*>(address), &upper, sizeof(upper));
  }
}

/// max(v, 0); NaN stays NaN.
template <class V>
V rectified(V v) {
  return v < 0.0F ? V{} : v;
}

/// v where `gate` is positive, 0 elsewhere.
template <class V>
V where_positive(V gate, V v) {
  return gate > 0.0F ? v : V{};
}

/// f.template operator()<V>(c) for groups of channels that begin at c and cover [0, channels).
template <class F>
void for_channels(std::int64_t channels, F&& f) {
  std::int64_t c = 0;
  for (; c + lane_count <= channels; c += lane_count) f.template operator()<Lanes>(c);
  for (; c < channels; ++c) f.template operator()<float>(c);
}

}  // namespace generous

// Sixteen floats at a time. A kernel over channels is written once, as a lambda on a vector type, and runs on
// Lanes for every full group of sixteen channels and on float for those left over.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "core/dtype.h"

namespace generous {

constexpr std::int64_t lane_count = 16;
using Lanes = float __attribute__((vector_size(lane_count * sizeof(float))));

/// Sixteen bf16 as they lie in memory.
using HalfLanes = std::uint16_t __attribute__((vector_size(lane_count * sizeof(std::uint16_t))));

// AVX-512's own conversions take half the time of what GCC makes of the general form.

inline Lanes widened(HalfLanes h) {
  using Bits = std::uint32_t __attribute__((vector_size(sizeof(Lanes))));
#ifdef __AVX512F__
  // With a mask, because GCC 12 warns of an undefined register in the form without.
  const auto bits = std::bit_cast<Bits>(_mm512_maskz_cvtepu16_epi32(0xffff, std::bit_cast<__m256i>(h)));
#else
  const auto bits = __builtin_convertvector(h, Bits);
#endif
  return std::bit_cast<Lanes>(bits << 16);
}

/// Rounded as by the constructor of bfloat16, but values below the normal ones may become zero.
inline HalfLanes rounded(Lanes v) {
#ifdef __AVX512BF16__
  return std::bit_cast<HalfLanes>(_mm512_cvtneps_pbh(v));
#else
  using Bits = std::uint32_t __attribute__((vector_size(sizeof(Lanes))));
  const auto u = std::bit_cast<Bits>(v);
  const Bits nearest = (u + 0x7fffU + ((u >> 16) & 1U)) >> 16;
  const Bits quiet_nan = (u >> 16) | 0x40U;
  return __builtin_convertvector(v == v ? nearest : quiet_nan, HalfLanes);
#endif
}

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
    HalfLanes h;
    std::memcpy(&h, address, sizeof(h));
    return widened(h);
  }
}

template <class V>
void store(float* address, V value) {
  std::memcpy(address, &value, sizeof(V));
}

template <class V>
void store(bfloat16* address, V value) {
  if constexpr (std::is_same_v<V, float>) {
    *address = bfloat16(value);
  } else {
    const HalfLanes h = rounded(value);
    std::memcpy(static_cast<void*>(address), &h, sizeof(h));
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

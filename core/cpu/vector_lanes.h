// Sixteen floats at a time. A kernel over channels is written once, as a lambda on a vector type, and runs on
// Lanes for every full group of sixteen channels, on shorter vectors and on float for those left over.
#pragma once

#include <array>
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
using EightLanes = float __attribute__((vector_size(8 * sizeof(float))));
using FourLanes = float __attribute__((vector_size(4 * sizeof(float))));

/// The vectors that belong to a vector of floats V: as many 32-bit words, and as many bf16 as they lie in
/// memory.
template <class V>
struct VectorsOf;
template <>
struct VectorsOf<Lanes> {
  using Words = std::uint32_t __attribute__((vector_size(64)));
  using Halves = std::uint16_t __attribute__((vector_size(32)));
};
template <>
struct VectorsOf<EightLanes> {
  using Words = std::uint32_t __attribute__((vector_size(32)));
  using Halves = std::uint16_t __attribute__((vector_size(16)));
};
template <>
struct VectorsOf<FourLanes> {
  using Words = std::uint32_t __attribute__((vector_size(16)));
  using Halves = std::uint16_t __attribute__((vector_size(8)));
};

// AVX-512's own conversions take half the time of what GCC makes of the general form.

template <class V>
V widened(typename VectorsOf<V>::Halves h) {
  using Words = typename VectorsOf<V>::Words;
#ifdef __AVX512F__
  // With a mask, because GCC 12 warns of an undefined register in the form without.
  if constexpr (std::is_same_v<V, Lanes>) {
    const auto words = std::bit_cast<Words>(_mm512_maskz_cvtepu16_epi32(0xffff, std::bit_cast<__m256i>(h)));
    return std::bit_cast<V>(words << 16);
  }
#endif
  return std::bit_cast<V>(__builtin_convertvector(h, Words) << 16);
}

/// Rounded as by the constructor of bfloat16, but values below the normal ones may become zero.
template <class V>
auto rounded(V v) {
  using Words = typename VectorsOf<V>::Words;
  using Halves = typename VectorsOf<V>::Halves;
#ifdef __AVX512BF16__
  if constexpr (std::is_same_v<V, Lanes>) return std::bit_cast<Halves>(_mm512_cvtneps_pbh(v));
#endif
  const auto u = std::bit_cast<Words>(v);
  const Words nearest = (u + 0x7fffU + ((u >> 16) & 1U)) >> 16;
  const Words quiet_nan = (u >> 16) | 0x40U;
  // NOLINTNEXTLINE(misc-redundant-expression): v == v where v is no NaN
  return __builtin_convertvector(v == v ? nearest : quiet_nan, Halves);
}

/// Several neighbouring Lanes with the operators of one: walking from row to row, a kernel reads runs of
/// memory long enough for the processor to fetch ahead.
template <int count>
struct Pack {
  std::array<Lanes, count> part{};

  /// {f(0), f(1), ...}
  template <class F>
  static Pack of(F&& f) {
    Pack result;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < count; ++i) result.part[i] = f(i);
    return result;
  }
  friend Pack operator+(const Pack& a, const Pack& b) {
    return of([&](std::size_t i) { return a.part[i] + b.part[i]; });
  }
  friend Pack operator-(const Pack& a, const Pack& b) {
    return of([&](std::size_t i) { return a.part[i] - b.part[i]; });
  }
  friend Pack operator*(const Pack& a, const Pack& b) {
    return of([&](std::size_t i) { return a.part[i] * b.part[i]; });
  }
  Pack& operator+=(const Pack& b) { return *this = *this + b; }
};

template <class V>
inline constexpr bool is_pack = false;
template <int count>
inline constexpr bool is_pack<Pack<count>> = true;

template <class V, class T>
V load(const T* address) {
  if constexpr (is_pack<V>) {
    return V::of([=](std::size_t i) { return load<Lanes>(address + i * lane_count); });
  } else if constexpr (std::is_same_v<T, float>) {
    V value;
    std::memcpy(&value, address, sizeof(V));
    return value;
  } else if constexpr (std::is_same_v<V, float>) {
    return static_cast<float>(*address);
  } else {
    typename VectorsOf<V>::Halves h;
    std::memcpy(&h, address, sizeof(h));
    return widened<V>(h);
  }
}

/// A bfloat16 is rounded as by its constructor.
template <class V, class T>
void store(T* address, V value) {
  if constexpr (is_pack<V>) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < value.part.size(); ++i) store(address + i * lane_count, value.part[i]);
  } else if constexpr (std::is_same_v<T, float>) {
    std::memcpy(address, &value, sizeof(V));
  } else if constexpr (std::is_same_v<V, float>) {
    *address = bfloat16(value);
  } else {
    const auto h = rounded(value);
    std::memcpy(static_cast<void*>(address), &h, sizeof(h));
  }
}

/// Whether an output of so many bytes, in rows of `row_bytes`, will mostly have left the caches before it is
/// read, as measured over whole training steps. Written past them, it saves reading what is overwritten. A
/// group of channels has to fill whole cache lines: the next group's turn comes late.
inline bool worth_streaming(std::size_t bytes, std::size_t row_bytes) {
  constexpr std::size_t cached_bytes = 4U << 20U;
  return bytes > cached_bytes && row_bytes % 64 == 0;
}

/// Like `store`; with `streamed`, past the caches where the processor can.
template <class V, class T>
void store(T* address, V value, bool streamed) {
#ifdef __AVX512F__
  if constexpr (is_pack<V>) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < value.part.size(); ++i)
      store(address + i * lane_count, value.part[i], streamed);
    return;
  } else if constexpr (std::is_same_v<V, Lanes>) {
    if (streamed) {
      if constexpr (std::is_same_v<T, float>)
        _mm512_stream_ps(address, std::bit_cast<__m512>(value));
      else
        _mm256_stream_si256(reinterpret_cast<__m256i*>(address), std::bit_cast<__m256i>(rounded(value)));
      return;
    }
  }
#else
  (void)streamed;
#endif
  store(address, value);
}

/// max(v, 0); NaN stays NaN.
template <class V>
V rectified(V v) {
  if constexpr (is_pack<V>)
    return V::of([&](std::size_t i) { return rectified(v.part[i]); });
  else
    return v < 0.0F ? V{} : v;
}

/// min(max(v, 0), ceiling); NaN stays NaN.
template <class V>
V clipped(V v, float ceiling) {
  if constexpr (is_pack<V>) {
    return V::of([&](std::size_t i) { return clipped(v.part[i], ceiling); });
  } else {
    const V positive = rectified(v);
    return positive > ceiling ? V{} + ceiling : positive;
  }
}

/// v where `gate` is between 0 and `ceiling`, 0 elsewhere.
template <class V>
V where_passed(V gate, float ceiling, V v) {
  if constexpr (is_pack<V>)
    return V::of([&](std::size_t i) { return where_passed(gate.part[i], ceiling, v.part[i]); });
  else
    return ((gate > 0.0F) & (gate < ceiling)) ? v : V{};
}

/// f.template operator()<V>(c) for groups of channels that begin at c and cover [0, channels): the widest
/// first.
template <class F>
void for_channels(std::int64_t channels, F&& f) {
  std::int64_t c = 0;
  const auto in_groups_of = [&]<class V>() {
    constexpr std::int64_t width = sizeof(V) / sizeof(float);
    for (; c + width <= channels; c += width) f.template operator()<V>(c);
  };
  in_groups_of.template operator()<Pack<4>>();
  in_groups_of.template operator()<Pack<2>>();
  in_groups_of.template operator()<Lanes>();
  in_groups_of.template operator()<EightLanes>();
  in_groups_of.template operator()<FourLanes>();
  in_groups_of.template operator()<float>();
}

}  // namespace generous

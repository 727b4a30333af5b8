// Sixteen floats at a time. A kernel over channels is written once, as a lambda on a vector type, and runs on
// Lanes for every full group of sixteen channels and on float for those left over.
#pragma once

#include <cstdint>
#include <cstring>

namespace generous {

constexpr std::int64_t lane_count = 16;
using Lanes = float __attribute__((vector_size(lane_count * sizeof(float))));

template <class V>
V load(const float* address) {
  V value;
  std::memcpy(&value, address, sizeof(V));
  return value;
}

template <class V>
void store(float* address, V value) {
  std::memcpy(address, &value, sizeof(V));
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

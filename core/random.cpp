#include "core/random.h"

#include <cmath>
#include <numbers>

namespace generous {

std::uint64_t random_key(std::uint64_t seed, std::string_view purpose) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a, 64 bits
  for (const char c : purpose) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  const PhiloxBlock mixed =
      philox(seed, {static_cast<std::uint32_t>(hash), static_cast<std::uint32_t>(hash >> 32), 0, 0});
  return (static_cast<std::uint64_t>(mixed[1]) << 32) | mixed[0];
}

float Random::normal(std::uint32_t epoch, std::uint32_t sample, std::uint64_t element) const {
  const PhiloxBlock block = bits(epoch, sample, element);
  const float radius = std::sqrt(-2.0F * std::log(1.0F - uniform01(block[0])));  // 1 - u is never 0
  return radius * std::cos(2.0F * std::numbers::pi_v<float> * uniform01(block[1]));
}

}  // namespace generous

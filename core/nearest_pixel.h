// Nearest-neighbour resampling along one axis, as PyTorch's "nearest": the same float arithmetic, so that the
// same pixel is taken wherever a product lies close to a whole number.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace generous {

/// The pixel, of `from`, that becomes pixel `target` of `to`.
GENEROUS_HOST_DEVICE inline std::int64_t nearest_source(std::int64_t target, std::int64_t from,
                                                        std::int64_t to) {
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  const auto source = static_cast<std::int64_t>(static_cast<float>(target) * scale);
  return source < from ? source : from - 1;
}

/// The first pixel, of `to`, that pixel `source` of `from` or a later one becomes; `to` if there is none.
GENEROUS_HOST_DEVICE inline std::int64_t first_nearest_target(std::int64_t source, std::int64_t from,
                                                              std::int64_t to) {
  std::int64_t target = source * to / from;
  while (target > 0 && nearest_source(target - 1, from, to) >= source) --target;
  while (target < to && nearest_source(target, from, to) < source) ++target;
  return target;
}

}  // namespace generous

// The windows of adaptive pooling along one axis, as PyTorch's.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace generous {

/// Pixels from `begin` to before `end`.
struct PoolBin {
  std::int64_t begin;
  std::int64_t end;
};

/// The i-th of `bins` windows over `pixels`; and, the other way round, the windows that pixel i is in:
/// pool_bin(i, bins, pixels), since h < (p + 1) n / m and h + 1 > p n / m say the same of both.
GENEROUS_HOST_DEVICE inline PoolBin pool_bin(std::int64_t i, std::int64_t pixels, std::int64_t bins) {
  return {i * pixels / bins, ((i + 1) * pixels + bins - 1) / bins};
}

}  // namespace generous

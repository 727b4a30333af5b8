// One image of a batch on the CPU: for the backend, and for the loader's background threads.
#pragma once

#include <cstdint>
#include <span>

#include "core/placement.h"

namespace generous {

/// Writes `out` {H, W, C} of f32: what `placement` shows of `image` {H, W, C} of u8, each byte replaced by
/// its entry in row c of `normalise` {3, 256}. Black is the entry of 0, what is erased 0. In the calling
/// thread. Throws Error unless there are 1 to 3 channels, and spans of `shape`.
void augment_image(const Placement& placement, const ImageShape& shape, std::span<const std::uint8_t> image,
                   std::span<const float, 3 * 256> normalise, std::span<float> out);

/// The same without normalisation and erasing: `out` {H, W, C} of u8 must not overlap `image`. Black is 0.
void place_image(const Placement& placement, const ImageShape& shape, std::span<const std::uint8_t> image,
                 std::span<std::uint8_t> out);

}  // namespace generous

// From the bytes of one image to the floats a network sees: random geometry, then normalisation.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/placement.h"
#include "core/random.h"
#include "data/dataset.h"

namespace generous {

struct ImageShape {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;  ///< 1 to 3
  std::int64_t numel() const { return height * width * channels; }
};

/// What happens to one image, in this order. The default leaves it as it is.
struct Augmentation {
  double rotation_degrees =
      0.0;                   ///< counter-clockwise about the centre; nearest neighbour; black where outside
  std::int64_t shift_y = 0;  ///< the crop's corner, -padding to +padding: black where outside
  std::int64_t shift_x = 0;
  bool flip = false;  ///< mirror horizontally
};

/// Draws rotation, crop and flip as `info` has them. A pure function of the stream, `epoch` and `sample`.
Augmentation draw_augmentation(const DatasetInfo& info, const Random& random, std::uint32_t epoch,
                               std::uint32_t sample);

/// The same geometry as numbers that any device can apply to image `sample` of a dataset (Backend::augment).
Placement placement_of(const Augmentation& augmentation, const ImageShape& shape, std::int64_t sample);

/// Per channel, every byte's value (byte / 255 - mean) / std.
using NormaliseTable = std::array<std::array<float, 256>, 3>;
NormaliseTable make_normalise_table(const DatasetInfo& info);

/// Writes the augmented, normalised image: `pixels` {H, W, C} of u8 -> `out` {H, W, C} of f32. Black outside
/// the image is a byte of 0, which normalisation turns into -mean / std.
void augment_and_normalise(std::span<const std::uint8_t> pixels, const ImageShape& shape,
                           const Augmentation& augmentation, const NormaliseTable& table,
                           std::span<float> out);

}  // namespace generous

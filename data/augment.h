// From the bytes of an image to the floats a network sees: random geometry and normalisation, drawn and laid
// down here, carried out by Backend::augment or, one image at a time, augment_image (core/cpu/augment.h).
#pragma once

#include <array>
#include <cstdint>

#include "core/placement.h"
#include "core/random.h"
#include "data/dataset.h"

namespace generous {

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

/// The same geometry as numbers that any device can apply to image `sample` of a dataset.
Placement placement_of(const Augmentation& augmentation, const ImageShape& shape, std::int64_t sample);

/// Rounded to 16.16 fixed point, as Pillow does.
std::int64_t fixed_point(double value);

/// {3, 256}: by channel, every byte's value (byte / 255 - mean) / std. Black outside an image is a byte of 0.
using NormaliseTable = std::array<float, 3 * 256>;
NormaliseTable make_normalise_table(const Normalisation& normalisation);

}  // namespace generous

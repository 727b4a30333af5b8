// Which operations are done to an image's pixels, drawn as RandAugment does (Cubuk et al., "RandAugment:
// practical automated data augmentation with a reduced search space", 2020).
#pragma once

#include <cstdint>

#include "core/random.h"
#include "data/pixel_ops.h"

namespace generous {

/// The random numbers of one image in one epoch: all that is drawn is a pure function of them.
struct ImageRandom {
  const Random& random;
  std::uint32_t epoch = 0;
  std::uint32_t sample = 0;

  /// Uniform in [low, high).
  double uniform(double low, double high, std::uint64_t element) const {
    return low + (high - low) * static_cast<double>(random.uniform(epoch, sample, element));
  }
  /// Uniform in 0..bound-1.
  std::uint32_t below(std::uint32_t bound, std::uint64_t element) const {
    return random.below(bound, epoch, sample, element);
  }
};

/// RandAugment(n, m): after crop and flip n operations, each drawn anew from all fourteen, of magnitude m.
struct RandAugment {
  std::int64_t operations = 0;  ///< n; 0: none
  std::int64_t magnitude = 0;   ///< m of torchvision's bins, 0 to 30
};
inline constexpr std::int64_t max_magnitude = 30;

/// Operation `index` of an image of this shape, with torchvision's values. At magnitude 30, falling with it
/// in proportion: factors 1 +- 0.9, posterize to 4 bits (8 at 0), rotate by +-30 degrees, shear by +-0.3,
/// solarize from 0 (255 at 0), translate by +-150/331 of the size, cut off to whole pixels. Either sign is
/// equally likely.
PixelOperation draw_operation(const RandAugment& policy, const ImageShape& shape, const ImageRandom& random,
                              int index);

/// What is erased with this probability (torchvision's RandomErasing; Zhong et al., "Random erasing data
/// augmentation", 2020): 2 to 33 % of the image, height over width 0.3 to 3.3 and uniform in its logarithm.
/// No pixels in the other cases, or if ten draws do not fit.
Rectangle draw_erasing(double probability, const ImageShape& shape, const ImageRandom& random);

/// The strong view of the methods with two views (FixMatch's, Sohn et al. 2020): after crop and flip so many
/// operations, each drawn anew from all fourteen with a value uniform in its range, then a cutout.
inline constexpr int strong_operations = 2;

/// Operation `index` of the strong view of an image of this shape: factors 0.05..0.95, posterize to 4..7
/// bits, rotate by -30..30 degrees, shear by -0.3..0.3, solarize from 0..256, translate by -0.3..0.3 of the
/// size.
PixelOperation draw_strong_operation(const ImageShape& shape, const ImageRandom& random, int index);

/// The cutout: a square of side 0..1/2 of the width and centre anywhere, what lies inside the image of it. As
/// in the published code the last row and column count, so it is a pixel larger.
Rectangle draw_cutout(const ImageShape& shape, const ImageRandom& random);
inline constexpr std::array<std::uint8_t, 3> cutout_colour = {125, 123, 114};

}  // namespace generous

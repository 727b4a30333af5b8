#include "data/augment.h"

#include <cmath>
#include <numbers>

namespace generous {

namespace {

// Places in the random stream of one sample; changing one changes every run.
enum Element : std::uint64_t { element_crop_y, element_crop_x, element_flip, element_angle };

}  // namespace

Augmentation draw_augmentation(const DatasetInfo& info, const Random& random, std::uint32_t epoch,
                               std::uint32_t sample) {
  Augmentation drawn;
  if (info.rotation_degrees > 0.0F) {
    drawn.rotation_degrees =
        info.rotation_degrees * (2.0 * random.uniform(epoch, sample, element_angle) - 1.0);
  }
  if (info.crop_padding > 0) {
    const auto positions = static_cast<std::uint32_t>(2 * info.crop_padding + 1);
    drawn.shift_y = random.below(positions, epoch, sample, element_crop_y) - info.crop_padding;
    drawn.shift_x = random.below(positions, epoch, sample, element_crop_x) - info.crop_padding;
  }
  drawn.flip = info.flip && random.uniform(epoch, sample, element_flip) < 0.5F;
  return drawn;
}

std::int64_t fixed_point(double value) {
  return static_cast<std::int64_t>(std::floor(value * 65536.0 + 0.5));
}

// Every output pixel's centre is carried back by the inverse rotation, in 16.16 fixed point: the arithmetic
// that Pillow's Image.rotate uses for nearest neighbours, so that the same pixels are picked.
Placement placement_of(const Augmentation& augmentation, const ImageShape& shape, std::int64_t sample) {
  Placement placement{.sample = sample,
                      .shift_y = augmentation.shift_y,
                      .shift_x = augmentation.shift_x,
                      .flip = augmentation.flip ? 1 : 0};
  if (augmentation.rotation_degrees == 0.0) return placement;
  const double radians = augmentation.rotation_degrees * std::numbers::pi / 180.0;
  const double cosine = std::cos(radians);
  const double sine = std::sin(radians);
  const double centre_x = static_cast<double>(shape.width) / 2.0;
  const double centre_y = static_cast<double>(shape.height) / 2.0;
  // source_x = cos (x - cx) - sin (y - cy) + cx, source_y = sin (x - cx) + cos (y - cy) + cy, at x + 1/2, y
  // + 1/2
  placement.rotated = 1;
  placement.cosine = fixed_point(cosine);
  placement.sine = fixed_point(sine);
  placement.minus_sine = fixed_point(-sine);
  placement.offset_x =
      fixed_point(centre_x - cosine * centre_x + sine * centre_y + 0.5 * cosine - 0.5 * sine);
  placement.offset_y =
      fixed_point(centre_y - sine * centre_x - cosine * centre_y + 0.5 * sine + 0.5 * cosine);
  return placement;
}

NormaliseTable make_normalise_table(const Normalisation& normalisation) {
  NormaliseTable table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const std::size_t channel = i / 256;
    const std::size_t byte = i % 256;
    table[i] = (static_cast<float>(byte) / 255.0F - normalisation.mean[channel]) / normalisation.std[channel];
  }
  return table;
}

}  // namespace generous

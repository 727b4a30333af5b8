#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace generous {

namespace {

// Places in the random stream of one sample; changing one changes every run.
enum Element : std::uint64_t { element_crop_y, element_crop_x, element_flip, element_angle };

template <int channels>
void write_pixel(const std::uint8_t* pixel, const NormaliseTable& table, float* out) {
  for (std::size_t c = 0; c < channels; ++c) out[c] = table[c][pixel[c]];
}

template <int channels>
void write_black(std::int64_t count, const NormaliseTable& table, float* out) {
  for (std::int64_t i = 0; i < count; ++i, out += channels) {
    for (std::size_t c = 0; c < channels; ++c) out[c] = table[c][0];
  }
}

// Without rotation: every row of the output is black, a run of source pixels (backwards if flipped), black.
template <int channels>
void shift_and_flip(const std::uint8_t* pixels, const ImageShape& shape, const Augmentation& augmentation,
                    const NormaliseTable& table, float* out) {
  const std::int64_t width = shape.width;
  const std::int64_t step = augmentation.flip ? -channels : channels;
  // Output columns [begin, end) lie inside the source; column `begin` shows source column `source_x`.
  const std::int64_t shift = augmentation.flip ? -augmentation.shift_x : augmentation.shift_x;
  const std::int64_t begin = std::clamp<std::int64_t>(-shift, 0, width);
  const std::int64_t end = std::clamp<std::int64_t>(width - shift, begin, width);
  const std::int64_t source_x =
      augmentation.flip ? width - 1 - begin + augmentation.shift_x : begin + augmentation.shift_x;
  for (std::int64_t y = 0; y < shape.height; ++y, out += width * channels) {
    const std::int64_t source_y = y + augmentation.shift_y;
    if (source_y < 0 || source_y >= shape.height || begin == end) {
      write_black<channels>(width, table, out);
      continue;
    }
    const std::uint8_t* source = pixels + (source_y * width + source_x) * channels;
    write_black<channels>(begin, table, out);
    for (std::int64_t x = begin; x < end; ++x, source += step) {
      write_pixel<channels>(source, table, out + x * channels);
    }
    write_black<channels>(width - end, table, out + end * channels);
  }
}

template <int channels>
void rotate_shift_and_flip(const std::uint8_t* pixels, const ImageShape& shape,
                           const Augmentation& augmentation, const NormaliseTable& table, float* out) {
  const Placement placement = placement_of(augmentation, shape, 0);
  for (std::int64_t y = 0; y < shape.height; ++y) {
    for (std::int64_t x = 0; x < shape.width; ++x, out += channels) {
      const std::int64_t source = source_of(placement, shape.height, shape.width, y, x);
      if (source >= 0) {
        write_pixel<channels>(pixels + source * channels, table, out);
      } else {
        write_black<channels>(1, table, out);
      }
    }
  }
}

template <int channels>
void augment(const std::uint8_t* pixels, const ImageShape& shape, const Augmentation& augmentation,
             const NormaliseTable& table, float* out) {
  if (augmentation.rotation_degrees == 0.0) {
    shift_and_flip<channels>(pixels, shape, augmentation, table, out);
  } else {
    rotate_shift_and_flip<channels>(pixels, shape, augmentation, table, out);
  }
}

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
  const auto fixed = [](double value) {
    return static_cast<std::int64_t>(std::floor(value * 65536.0 + 0.5));
  };
  // source_x = cos (x - cx) - sin (y - cy) + cx, source_y = sin (x - cx) + cos (y - cy) + cy, at x + 1/2, y
  // + 1/2
  placement.rotated = 1;
  placement.cosine = fixed(cosine);
  placement.sine = fixed(sine);
  placement.minus_sine = fixed(-sine);
  placement.offset_x = fixed(centre_x - cosine * centre_x + sine * centre_y + 0.5 * cosine - 0.5 * sine);
  placement.offset_y = fixed(centre_y - sine * centre_x - cosine * centre_y + 0.5 * sine + 0.5 * cosine);
  return placement;
}

NormaliseTable make_normalise_table(const DatasetInfo& info) {
  NormaliseTable table{};
  for (std::size_t c = 0; c < table.size(); ++c) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      table[c][byte] = (static_cast<float>(byte) / 255.0F - info.mean[c]) / info.std[c];
    }
  }
  return table;
}

void augment_and_normalise(std::span<const std::uint8_t> pixels, const ImageShape& shape,
                           const Augmentation& augmentation, const NormaliseTable& table,
                           std::span<float> out) {
  const auto numel = static_cast<std::size_t>(shape.numel());
  require(pixels.size() == numel && out.size() == numel,
          "augment: {} bytes and {} floats for {} x {} x {} pixels", pixels.size(), out.size(), shape.height,
          shape.width, shape.channels);
  switch (shape.channels) {
    case 1:
      return augment<1>(pixels.data(), shape, augmentation, table, out.data());
    case 2:
      return augment<2>(pixels.data(), shape, augmentation, table, out.data());
    case 3:
      return augment<3>(pixels.data(), shape, augmentation, table, out.data());
    default:
      fail("augment: images of {} channels, expected 1 to 3", shape.channels);
  }
}

}  // namespace generous

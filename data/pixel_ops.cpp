#include "data/pixel_ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/cpu/augment.h"
#include "core/error.h"
#include "data/augment.h"

namespace generous {

namespace {

using Bytes = std::vector<std::uint8_t>;
using ByteTable = std::array<std::uint8_t, 256>;  ///< what becomes of every byte
using Histogram = std::array<std::int64_t, 256>;

/// in + alpha (other - in) and so on are cut off to bytes, in this precision.
std::uint8_t to_byte(float value) { return static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F)); }

/// From `degenerate` (factor 0) through `byte` (factor 1) and beyond.
std::uint8_t enhance(std::uint8_t degenerate, std::uint8_t byte, float factor) {
  return to_byte(static_cast<float>(degenerate) +
                 factor * static_cast<float>(static_cast<int>(byte) - static_cast<int>(degenerate)));
}

/// ITU-R 601-2 luminance in 16.16 fixed point.
std::uint8_t luminance(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

Histogram histogram(const Pixels& image, std::size_t channel) {
  Histogram counts{};
  for (std::size_t i = channel; i < image.bytes.size(); i += static_cast<std::size_t>(image.shape.channels))
    ++counts[image.bytes[i]];
  return counts;
}

/// Changes every channel by the table that `make_table` makes of its histogram.
template <class MakeTable>
void map_by_histogram(const Pixels& image, const MakeTable& make_table) {
  const auto channels = static_cast<std::size_t>(image.shape.channels);
  for (std::size_t channel = 0; channel < channels; ++channel) {
    const ByteTable table = make_table(histogram(image, channel));
    for (std::size_t i = channel; i < image.bytes.size(); i += channels)
      image.bytes[i] = table[image.bytes[i]];
  }
}

template <class F>
ByteTable table_of(const F& value) {
  ByteTable table{};
  for (std::size_t byte = 0; byte < table.size(); ++byte)
    table[byte] = static_cast<std::uint8_t>(value(static_cast<int>(byte)));
  return table;
}

/// Changes every byte to value(byte).
template <class F>
void map_bytes(const Pixels& image, const F& value) {
  const ByteTable table = table_of(value);
  for (std::uint8_t& byte : image.bytes) byte = table[byte];
}

ByteTable auto_contrast_table(const Histogram& counts) {
  const auto present = [](std::int64_t count) { return count > 0; };
  const auto low = std::ranges::find_if(counts, present) - counts.begin();
  const auto high = counts.rend() - std::find_if(counts.rbegin(), counts.rend(), present) - 1;
  if (high <= low) return table_of([](int byte) { return byte; });
  const double scale = 255.0 / static_cast<double>(high - low);
  const double offset = -static_cast<double>(low) * scale;
  return table_of([&](int byte) { return std::clamp(static_cast<int>(byte * scale + offset), 0, 255); });
}

ByteTable equalize_table(const Histogram& counts) {
  std::int64_t pixels = 0;
  std::int64_t last = 0;  // of the largest byte that there is
  for (const std::int64_t count : counts) {
    pixels += count;
    if (count > 0) last = count;
  }
  const std::int64_t step = (pixels - last) / 255;
  if (step == 0) return table_of([](int byte) { return byte; });
  std::int64_t below = step / 2;
  return table_of([&](int byte) {
    const std::int64_t value = std::min<std::int64_t>(below / step, 255);
    below += counts[static_cast<std::size_t>(byte)];
    return value;
  });
}

void color(const Pixels& image, float factor) {
  if (image.shape.channels == 1) return;
  for (std::size_t i = 0; i < image.bytes.size(); i += 3) {
    std::uint8_t* pixel = image.bytes.data() + i;
    const std::uint8_t grey = luminance(pixel);
    for (int c = 0; c < 3; ++c) pixel[c] = enhance(grey, pixel[c], factor);
  }
}

std::uint8_t mean_luminance(const Pixels& image) {
  std::int64_t sum = 0;
  if (image.shape.channels == 1)
    for (const std::uint8_t byte : image.bytes) sum += byte;
  else
    for (std::size_t i = 0; i < image.bytes.size(); i += 3) sum += luminance(image.bytes.data() + i);
  const auto pixels = static_cast<double>(image.shape.height * image.shape.width);
  return static_cast<std::uint8_t>(static_cast<double>(sum) / pixels + 0.5);
}

/// Against (1 1 1, 1 5 1, 1 1 1) / 13, rounded; pixels on the border stay as they are.
void sharpness(const Pixels& image, float factor) {
  const auto channels = static_cast<std::size_t>(image.shape.channels);
  const std::size_t row = static_cast<std::size_t>(image.shape.width) * channels;
  const Bytes source(image.bytes.begin(), image.bytes.end());
  for (std::size_t y = 1; y + 1 < static_cast<std::size_t>(image.shape.height); ++y) {
    const std::uint8_t* here = source.data() + y * row;
    std::uint8_t* out = image.bytes.data() + y * row;
    for (std::size_t i = channels; i + channels < row; ++i) {
      int sum = 4 * here[i];
      for (const std::uint8_t* line : {here - row, here, here + row})
        sum += line[i - channels] + line[i] + line[i + channels];
      out[i] = enhance(static_cast<std::uint8_t>((2 * sum + 13) / 26), here[i], factor);
    }
  }
}

void move(const Pixels& image, const Placement& placement) {
  const Bytes source(image.bytes.begin(), image.bytes.end());
  place_image(placement, image.shape, source, image.bytes);
}

/// The source's pixel is (y + 1/2 + sine (x + 1/2), x + 1/2 + minus_sine (y + 1/2)), cut off.
Placement sheared(double minus_sine, double sine) {
  return {.rotated = 1,
          .sine = fixed_point(sine),
          .minus_sine = fixed_point(minus_sine),
          .offset_x = fixed_point(0.5 + 0.5 * minus_sine),
          .offset_y = fixed_point(0.5 + 0.5 * sine)};
}

std::int64_t rounded(double pixels) { return static_cast<std::int64_t>(std::floor(pixels + 0.5)); }

}  // namespace

std::string_view name_of(PixelOp op) {
  constexpr std::array<std::string_view, pixel_op_count> names = {
      "Identity",  "AutoContrast", "Equalize", "Brightness", "Color",  "Contrast",   "Sharpness",
      "Posterize", "Solarize",     "Rotate",   "ShearX",     "ShearY", "TranslateX", "TranslateY"};
  return names.at(static_cast<std::size_t>(op));
}

void operate(const PixelOperation& operation, const Pixels& image) {
  const ImageShape& shape = image.shape;
  require(shape.channels == 1 || shape.channels == 3, "{}: images of {} channels, expected 1 or 3",
          name_of(operation.op), shape.channels);
  require(std::ssize(image.bytes) == shape.numel(), "{}: {} bytes for {} x {} x {} pixels",
          name_of(operation.op), image.bytes.size(), shape.height, shape.width, shape.channels);
  const double value = operation.value;
  const auto factor = static_cast<float>(value);
  switch (operation.op) {
    case PixelOp::identity:
      return;
    case PixelOp::auto_contrast:
      return map_by_histogram(image, auto_contrast_table);
    case PixelOp::equalize:
      return map_by_histogram(image, equalize_table);
    case PixelOp::brightness:
      return map_bytes(image, [&](int byte) { return enhance(0, static_cast<std::uint8_t>(byte), factor); });
    case PixelOp::color:
      return color(image, factor);
    case PixelOp::contrast:
      return map_bytes(image, [&, mean = mean_luminance(image)](int byte) {
        return enhance(mean, static_cast<std::uint8_t>(byte), factor);
      });
    case PixelOp::sharpness:
      return sharpness(image, factor);
    case PixelOp::posterize:
      return map_bytes(image,
                       [kept = 0xFF << (8 - static_cast<int>(value))](int byte) { return byte & kept; });
    case PixelOp::solarize:
      return map_bytes(image, [&](int byte) { return byte < value ? byte : 255 - byte; });
    case PixelOp::rotate:
      return move(image, placement_of({.rotation_degrees = value}, shape, 0));
    case PixelOp::shear_x:
      return move(image, sheared(value, 0.0));
    case PixelOp::shear_y:
      return move(image, sheared(0.0, value));
    case PixelOp::translate_x:
      return move(image, {.shift_x = rounded(value)});
    case PixelOp::translate_y:
      return move(image, {.shift_y = rounded(value)});
  }
}

void fill(const Rectangle& rectangle, const std::array<std::uint8_t, 3>& colour, const Pixels& image) {
  const ImageShape& shape = image.shape;
  const std::array<std::uint8_t, 1> grey = {luminance(colour.data())};
  const std::span<const std::uint8_t> pixel =
      shape.channels == 1 ? std::span<const std::uint8_t>(grey) : std::span<const std::uint8_t>(colour);
  for (std::int64_t y = 0; y < shape.height; ++y)
    for (std::int64_t x = 0; x < shape.width; ++x)
      if (rectangle.contains(y, x))
        std::ranges::copy(pixel, image.bytes.begin() + (y * shape.width + x) * shape.channels);
}

}  // namespace generous

// Operations on the bytes of one image as Pillow does them, byte for byte: what RandAugment draws from.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/placement.h"

namespace generous {

/// An image to be changed in place: u8 {H, W, C}, of 1 channel (grey) or 3 (red, green, blue).
struct Pixels {
  ImageShape shape;
  std::span<std::uint8_t> bytes;
};

/// Resampling is by the nearest neighbour, black where outside the image.
enum class PixelOp : std::uint8_t {
  identity,
  auto_contrast,  ///< each channel stretched to 0..255
  equalize,       ///< each channel's histogram made flat
  brightness,     ///< value: a factor; 0 black, 1 as it is
  color,          ///< value: a factor; 0 without colours. Grey images stay as they are
  contrast,       ///< value: a factor; 0 the mean grey
  sharpness,      ///< value: a factor; 0 smoothed by a 3 x 3 filter
  posterize,      ///< value: bits of a byte that are kept, 1 to 8; rounded down
  solarize,       ///< value: bytes from here on are inverted
  rotate,         ///< value: degrees, counter-clockwise about the centre
  shear_x,        ///< value: pixels by which a row moves left against the one above it
  shear_y,        ///< value: pixels by which a column moves up against the one on its left
  translate_x,    ///< value: pixels to the left
  translate_y,    ///< value: pixels upwards
};
inline constexpr std::size_t pixel_op_count = 14;

/// "AutoContrast", "ShearX": as the field calls it.
std::string_view name_of(PixelOp op);

struct PixelOperation {
  PixelOp op = PixelOp::identity;
  double value = 0.0;  ///< without meaning where the op has none
};

/// Changes the image. Throws Error unless it has 1 or 3 channels and as many bytes as its shape says.
void operate(const PixelOperation& operation, const Pixels& image);

/// Fills what of a rectangle lies inside the image with one colour, of which grey images take the luminance.
void fill(const Rectangle& rectangle, const std::array<std::uint8_t, 3>& colour, const Pixels& image);

}  // namespace generous

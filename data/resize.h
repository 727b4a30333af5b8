// Pictures of any size, made to fit a network's images.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/image_size.h"

namespace generous {

/// Pixels {H, W, 3} of size `from` as {H, W, 3} of size `to`, by a triangle filter as wide as what it
/// shrinks: Pillow's arithmetic for BILINEAR, rows first. Both sizes have at least one pixel.
std::vector<std::uint8_t> resize_rgb(std::span<const std::uint8_t> pixels, ImageSize from, ImageSize to);

/// The same without distortion: shrunk or grown until it just covers `to`, of which the middle is taken. A
/// picture of that size stays as it is.
std::vector<std::uint8_t> fit_rgb(std::span<const std::uint8_t> pixels, ImageSize from, ImageSize to);

/// Luminance of RGB pixels, by Pillow's rounding (ITU-R 601-2): one byte of three. Of grey ones the value
/// itself.
std::vector<std::uint8_t> grey_of(std::span<const std::uint8_t> rgb);

}  // namespace generous

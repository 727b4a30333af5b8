// Where the pixels of an augmented image come from: geometry drawn on the host, applied on any device.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace generous {

struct ImageShape {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;  ///< 1 to 3
  std::int64_t numel() const { return height * width * channels; }
};

/// Pixels of an image: rows [top, top + height), columns [left, left + width).
struct Rectangle {
  std::int64_t top = 0;
  std::int64_t left = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;

  GENEROUS_HOST_DEVICE bool contains(std::int64_t y, std::int64_t x) const {
    return y >= top && y < top + height && x >= left && x < left + width;
  }
};

/// One image of a batch. Without rotation, pixel (y, x) shows the source's pixel (y + shift_y, x' + shift_x),
/// where x' is x or, flipped, width - 1 - x. With rotation or shear that place is carried on by its inverse,
/// in 16.16 fixed point. Places outside the image are black. Last, pixels of the output are erased.
struct Placement {
  std::int64_t sample = 0;  ///< index of the image in its dataset
  std::int64_t shift_y = 0;
  std::int64_t shift_x = 0;
  std::int64_t flip = 0;     ///< 1: mirrored horizontally
  std::int64_t rotated = 0;  ///< 1: rotated or sheared; the rest counts
  std::int64_t cosine = 65536;
  std::int64_t sine = 0;
  std::int64_t minus_sine = 0;  ///< rounded by itself, so not always -sine
  std::int64_t offset_x = 0;
  std::int64_t offset_y = 0;
  Rectangle erased = {};  ///< of the output: 0 behind the normalisation, the mean colour
};

/// A row of i64 for each image: the members in their order.
inline constexpr std::int64_t placement_size = sizeof(Placement) / sizeof(std::int64_t);

/// Row `index` of {N, placement_size}.
GENEROUS_HOST_DEVICE inline Placement placement_at(const std::int64_t* rows, std::int64_t index) {
  const std::int64_t* row = rows + index * placement_size;
  return {.sample = row[0],
          .shift_y = row[1],
          .shift_x = row[2],
          .flip = row[3],
          .rotated = row[4],
          .cosine = row[5],
          .sine = row[6],
          .minus_sine = row[7],
          .offset_x = row[8],
          .offset_y = row[9],
          .erased = {.top = row[10], .left = row[11], .height = row[12], .width = row[13]}};
}

/// What an unrotated row of the output shows: columns [begin, end) the source pixels first, first + step,
/// ...; the others black.
struct SourceRow {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t first = 0;  ///< index y * width + x
  std::int64_t step = 1;   ///< -1: mirrored
};

GENEROUS_HOST_DEVICE inline SourceRow source_row(const Placement& placement, std::int64_t height,
                                                 std::int64_t width, std::int64_t y) {
  const std::int64_t source_y = y + placement.shift_y;
  if (source_y < 0 || source_y >= height) return {};
  const bool flip = placement.flip != 0;
  const std::int64_t shift = flip ? -placement.shift_x : placement.shift_x;
  const std::int64_t begin = shift >= 0 ? 0 : (-shift < width ? -shift : width);
  const std::int64_t end = shift <= 0 ? width : (shift < width ? width - shift : 0);
  if (begin >= end) return {};
  const std::int64_t source_x = begin + shift;
  return {.begin = begin,
          .end = end,
          .first = source_y * width + (flip ? width - 1 - source_x : source_x),
          .step = flip ? -1 : 1};
}

/// The source pixel's index y * width + x to which rotation or shear carries place (y, x), or -1: black.
GENEROUS_HOST_DEVICE inline std::int64_t rotated_source(const Placement& placement, std::int64_t height,
                                                        std::int64_t width, std::int64_t y, std::int64_t x) {
  const std::int64_t source_x = (placement.cosine * x + placement.minus_sine * y + placement.offset_x) >> 16;
  const std::int64_t source_y = (placement.sine * x + placement.cosine * y + placement.offset_y) >> 16;
  const bool inside = source_y >= 0 && source_y < height && source_x >= 0 && source_x < width;
  return inside ? source_y * width + source_x : -1;
}

/// The source pixel's index y * width + x that pixel (y, x) of the output shows, or -1: black.
GENEROUS_HOST_DEVICE inline std::int64_t source_of(const Placement& placement, std::int64_t height,
                                                   std::int64_t width, std::int64_t y, std::int64_t x) {
  const SourceRow row = source_row(placement, height, width, y);
  if (x < row.begin || x >= row.end) return -1;
  const std::int64_t place = row.first + (x - row.begin) * row.step;
  if (placement.rotated == 0) return place;
  return rotated_source(placement, height, width, place / width, place % width);
}

}  // namespace generous

// How an image is cut into Winograd's tiles, and the transforms of one tile between images and the matrices
// of the 36 products. A set of such matrices is kept as 36 planes {tiles, channels}.
#pragma once

#include "core/cpu/vector_lanes.h"
#include "core/cpu/winograd_transforms.h"
#include "core/tensor.h"

namespace generous::winograd {

/// Tiles of 4x4 outputs, image after image, row after row; those at the lower and right edge may reach beyond
/// the image.
class Tiling {
 public:
  explicit Tiling(const Shape& image)
      : height_(image[1]),
        width_(image[2]),
        rows_((height_ + outputs - 1) / outputs),
        columns_((width_ + outputs - 1) / outputs),
        count_(image[0] * rows_ * columns_) {}

  std::int64_t count() const { return count_; }

  /// Sets address[i][j] to pixel (i, j) of a size x size window of the image {N, H, W, channels}, whose
  /// corner lies `margin` before the tile's corner; to `outside` for pixels beyond the image.
  template <std::size_t size, class T>
  void window(std::int64_t tile, std::int64_t margin, T* image, std::int64_t channels, T* outside,
              std::array<std::array<T*, size>, size>& address) const {
    const std::int64_t n = tile / (rows_ * columns_);
    const std::int64_t top = tile / columns_ % rows_ * outputs - margin;
    const std::int64_t left = tile % columns_ * outputs - margin;
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t j = 0; j < size; ++j) {
        const std::int64_t row = top + static_cast<std::int64_t>(i);
        const std::int64_t column = left + static_cast<std::int64_t>(j);
        const bool inside = row >= 0 && row < height_ && column >= 0 && column < width_;
        address[i][j] = inside ? image + ((n * height_ + row) * width_ + column) * channels : outside;
      }
  }

 private:
  std::int64_t height_, width_, rows_, columns_, count_;
};

/// Floats from one plane to the next: a cache line more than the plane itself, so that the same place of all
/// 36 planes does not compete for the same set of a cache.
inline std::int64_t plane_stride(std::int64_t tiles, std::int64_t channels) {
  return tiles * channels + lane_count;
}

/// Row `row` of the 36 planes = B' d B, d {6, 6, channels} around the tile; `zeros` are `channels` zeros.
void gather_input(const Tiling& tiling, std::int64_t tile, const float* image, std::int64_t channels,
                  const float* zeros, float* row, std::int64_t stride);

/// Row `row` of the 36 planes = A dy A', dy {4, 4, channels} of the tile.
void gather_output_gradient(const Tiling& tiling, std::int64_t tile, const float* image,
                            std::int64_t channels, const float* zeros, float* row, std::int64_t stride);

}  // namespace generous::winograd

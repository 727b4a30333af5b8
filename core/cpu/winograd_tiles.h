// How an image is cut into Winograd's tiles, and the transforms of one tile between images and the matrices
// of the 36 products. A set of such matrices is kept as 36 planes {tiles, channels}.
#pragma once

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
        rows_((height_ + step - 1) / step),
        columns_((width_ + step - 1) / step),
        count_(image[0] * rows_ * columns_) {}

  std::int64_t count() const { return count_; }

  /// Sets address[i][j] to pixel (i, j) of a size x size window of the image {N, H, W, channels}, whose
  /// corner lies `margin` before the tile's corner; to `outside` for pixels beyond the image.
  template <std::size_t size, class T>
  void window(std::int64_t tile, std::int64_t margin, T* image, std::int64_t channels, T* outside,
              std::array<std::array<T*, size>, size>& address) const {
    const std::int64_t n = tile / (rows_ * columns_);
    const std::int64_t top = tile / columns_ % rows_ * step - margin;
    const std::int64_t left = tile % columns_ * step - margin;
    T* corner = image + ((n * height_ + top) * width_ + left) * channels;
    for (std::size_t i = 0; i < size; ++i) {
      const auto down = static_cast<std::int64_t>(i);
      const bool row_inside = top + down >= 0 && top + down < height_;
      for (std::size_t j = 0; j < size; ++j) {
        const auto right = static_cast<std::int64_t>(j);
        const bool inside = row_inside && left + right >= 0 && left + right < width_;
        address[i][j] = inside ? corner + (down * width_ + right) * channels : outside;
      }
    }
  }

 private:
  static constexpr std::int64_t step = outputs;
  std::int64_t height_, width_, rows_, columns_, count_;
};

/// Floats from one plane to the next: a cache line more than the plane itself, so that the same place of all
/// 36 planes does not compete for the same set of a cache.
inline std::int64_t plane_stride(std::int64_t tiles, std::int64_t channels) {
  return tiles * channels + lane_count;
}

/// What the transforms of tiles read: an image and, for pixels beyond it, as many zeros as it has channels.
template <class T>
struct TileSource {
  const T* image;
  std::int64_t channels;
  const T* zeros;
};

/// B' d B of every channel, d {6, 6} around the tile, into one row of 36 planes.
template <class T>
void gather_input(const Tiling& tiling, std::int64_t tile, const TileSource<T>& from, float* row,
                  std::int64_t stride) {
  std::array<std::array<const T*, inputs>, inputs> d;
  tiling.window(tile, 1, from.image, from.channels, from.zeros, d);
  for (std::int64_t c = 0; c < from.channels; c += lane_count)
    transform_square<InputTransform, Lanes>(
        [&](std::size_t i, std::size_t j) { return load<Lanes>(d[i][j] + c); },
        [&](std::size_t i, std::size_t j, Lanes value) { store_plane(row + c, stride, i, j, value); });
}

/// A dy A' of every channel, dy {4, 4} of the tile, into one row of 36 planes.
template <class T>
void gather_output_gradient(const Tiling& tiling, std::int64_t tile, const TileSource<T>& from, float* row,
                            std::int64_t stride) {
  std::array<std::array<const T*, outputs>, outputs> dy;
  tiling.window(tile, 0, from.image, from.channels, from.zeros, dy);
  for (std::int64_t c = 0; c < from.channels; c += lane_count)
    transform_square<OutputGradientTransform, Lanes>(
        [&](std::size_t i, std::size_t j) { return load<Lanes>(dy[i][j] + c); },
        [&](std::size_t i, std::size_t j, Lanes value) { store_plane(row + c, stride, i, j, value); });
}

}  // namespace generous::winograd

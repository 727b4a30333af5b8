#include "data/resize.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace generous {

namespace {

constexpr int precision =
    22;  // binary digits of a weight's fraction: sums of bytes times weights fit 32 bits

/// The pixels along one axis that one pixel of the result is made of.
struct Taps {
  std::int64_t first = 0;
  std::vector<std::int32_t> weights;
};

std::vector<Taps> taps_along(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double width = std::max(scale, 1.0);  // half of the triangle's base
  std::vector<Taps> all(static_cast<std::size_t>(to));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    all[i].first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - width + 0.5), 0);
    const std::int64_t end = std::min(static_cast<std::int64_t>(centre + width + 0.5), from);
    std::vector<double> weights;
    double sum = 0.0;
    for (std::int64_t x = all[i].first; x < end; ++x) {
      weights.push_back(
          std::max(1.0 - std::abs((static_cast<double>(x) - centre + 0.5) * (1.0 / width)), 0.0));
      sum += weights.back();
    }
    for (const double weight : weights)
      all[i].weights.push_back(static_cast<std::int32_t>(0.5 + weight / sum * (1 << precision)));
  }
  return all;
}

/// One axis of {rows, size, inner}: `inner` neighbours are resized side by side.
std::vector<std::uint8_t> resize_axis(std::span<const std::uint8_t> pixels, std::size_t rows,
                                      std::int64_t from, std::int64_t to, std::size_t inner) {
  if (from == to) return {pixels.begin(), pixels.end()};
  const std::vector<Taps> taps = taps_along(from, to);
  std::vector<std::uint8_t> out;
  out.reserve(rows * static_cast<std::size_t>(to) * inner);
  for (std::size_t row = 0; row < rows; ++row) {
    const auto line =
        pixels.subspan(row * static_cast<std::size_t>(from) * inner, static_cast<std::size_t>(from) * inner);
    for (const Taps& tap : taps) {
      const std::size_t first = static_cast<std::size_t>(tap.first) * inner;
      for (std::size_t c = 0; c < inner; ++c) {
        std::int32_t sum = 1 << (precision - 1);
        for (std::size_t k = 0; k < tap.weights.size(); ++k)
          sum += line[first + k * inner + c] * tap.weights[k];
        out.push_back(static_cast<std::uint8_t>(std::clamp(sum >> precision, 0, 255)));
      }
    }
  }
  return out;
}

/// What `size` becomes where the other side goes `from` -> `to`, but not less than `least`.
std::int64_t scaled(std::int64_t size, std::int64_t from, std::int64_t to, std::int64_t least) {
  return std::max(size * to / from, least);
}

}  // namespace

std::vector<std::uint8_t> resize_rgb(std::span<const std::uint8_t> pixels, ImageSize from, ImageSize to) {
  require(from.height > 0 && from.width > 0 && to.height > 0 && to.width > 0 &&
              pixels.size() == static_cast<std::size_t>(3 * from.height * from.width),
          "resize: {} bytes as {} x {} x 3 to {} x {}", pixels.size(), from.height, from.width, to.height,
          to.width);
  const auto rows = static_cast<std::size_t>(from.height);
  const std::vector<std::uint8_t> narrowed = resize_axis(pixels, rows, from.width, to.width, 3);
  return resize_axis(narrowed, 1, from.height, to.height, static_cast<std::size_t>(3 * to.width));
}

std::vector<std::uint8_t> fit_rgb(std::span<const std::uint8_t> pixels, ImageSize from, ImageSize to) {
  const bool by_height = to.height * from.width >= to.width * from.height;  // the side that is scaled more
  const ImageSize covering = by_height
                                 ? ImageSize{to.height, scaled(from.width, from.height, to.height, to.width)}
                                 : ImageSize{scaled(from.height, from.width, to.width, to.height), to.width};
  const std::vector<std::uint8_t> whole = resize_rgb(pixels, from, covering);
  const std::int64_t top = (covering.height - to.height) / 2;
  const std::int64_t left = (covering.width - to.width) / 2;
  std::vector<std::uint8_t> middle;
  middle.reserve(static_cast<std::size_t>(3 * to.height * to.width));
  for (std::int64_t y = 0; y < to.height; ++y) {
    const auto begin = whole.begin() + 3 * ((top + y) * covering.width + left);
    middle.insert(middle.end(), begin, begin + 3 * to.width);
  }
  return middle;
}

std::vector<std::uint8_t> grey_of(std::span<const std::uint8_t> rgb) {
  std::vector<std::uint8_t> grey(rgb.size() / 3);
  for (std::size_t i = 0; i < grey.size(); ++i)
    grey[i] = static_cast<std::uint8_t>(
        (19595U * rgb[3 * i] + 38470U * rgb[3 * i + 1] + 7471U * rgb[3 * i + 2] + 0x8000U) >> 16);
  return grey;
}

}  // namespace generous

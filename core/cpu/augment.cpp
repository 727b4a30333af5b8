#include "core/cpu/augment.h"

#include <algorithm>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"

namespace generous {

namespace {

/// Bytes become what the network sees.
struct Normalised {
  const float* table;  ///< {3, 256}
  float operator()(int channel, std::uint8_t byte) const { return table[256 * channel + byte]; }
};

/// Bytes stay as they are.
struct Unchanged {
  std::uint8_t operator()(int /*channel*/, std::uint8_t byte) const { return byte; }
};

template <int channels, class Value, class Out>
void write_pixel(const std::uint8_t* pixel, Value value, Out* out) {
  for (int c = 0; c < channels; ++c) out[c] = value(c, pixel[c]);
}

template <int channels, class Value, class Out>
void write_black(std::int64_t count, Value value, Out* out) {
  for (std::int64_t i = 0; i < count; ++i, out += channels)
    for (int c = 0; c < channels; ++c) out[c] = value(c, 0);
}

/// Row `y` of the output.
template <int channels, class Value, class Out>
void write_row(const Placement& placement, const ImageShape& shape, std::int64_t y, const std::uint8_t* image,
               Value value, Out* out) {
  const SourceRow row = source_row(placement, shape.height, shape.width, y);
  write_black<channels>(row.begin, value, out);
  if (placement.rotated == 0) {
    const std::uint8_t* source = image + row.first * channels;
    for (std::int64_t x = row.begin; x < row.end; ++x, source += row.step * channels)
      write_pixel<channels>(source, value, out + x * channels);
  } else {
    const std::int64_t unrotated_y = row.first / shape.width;
    std::int64_t unrotated_x = row.first % shape.width;
    for (std::int64_t x = row.begin; x < row.end; ++x, unrotated_x += row.step) {
      const std::int64_t source =
          rotated_source(placement, shape.height, shape.width, unrotated_y, unrotated_x);
      if (source >= 0)
        write_pixel<channels>(image + source * channels, value, out + x * channels);
      else
        write_black<channels>(1, value, out + x * channels);
    }
  }
  write_black<channels>(shape.width - row.end, value, out + row.end * channels);
}

template <int channels, class Value, class Out>
void place(const Placement& placement, const ImageShape& shape, const std::uint8_t* image, Value value,
           Out* out) {
  for (std::int64_t y = 0; y < shape.height; ++y)
    write_row<channels>(placement, shape, y, image, value, out + y * shape.width * channels);
}

template <class Value, class Out>
void place(const Placement& placement, const ImageShape& shape, std::span<const std::uint8_t> image,
           Value value, std::span<Out> out) {
  const auto numel = static_cast<std::size_t>(shape.numel());
  require(image.size() == numel && out.size() == numel,
          "augment: an image of {} bytes and a result of {} values for {} x {} x {} pixels", image.size(),
          out.size(), shape.height, shape.width, shape.channels);
  switch (shape.channels) {
    case 1:
      return place<1>(placement, shape, image.data(), value, out.data());
    case 2:
      return place<2>(placement, shape, image.data(), value, out.data());
    case 3:
      return place<3>(placement, shape, image.data(), value, out.data());
    default:
      fail("augment: images of {} channels, expected 1 to 3", shape.channels);
  }
}

void erase(const Rectangle& rectangle, const ImageShape& shape, std::span<float> out) {
  for (std::int64_t y = 0; y < (rectangle.height > 0 ? shape.height : 0); ++y)
    for (std::int64_t x = 0; x < shape.width; ++x)
      if (rectangle.contains(y, x))
        std::fill_n(out.begin() + (y * shape.width + x) * shape.channels, shape.channels, 0.0F);
}

}  // namespace

void augment_image(const Placement& placement, const ImageShape& shape, std::span<const std::uint8_t> image,
                   std::span<const float, 3 * 256> normalise, std::span<float> out) {
  place(placement, shape, image, Normalised{normalise.data()}, out);
  erase(placement.erased, shape, out);
}

void place_image(const Placement& placement, const ImageShape& shape, std::span<const std::uint8_t> image,
                 std::span<std::uint8_t> out) {
  place(placement, shape, image, Unchanged{}, out);
}

void EigenBackend::augment(const AugmentInputs& in, Tensor& y) {
  if (y.dtype() == DType::bf16) {
    Tensor in_f32 = Tensor::empty(y.shape());
    EigenBackend::augment(in, in_f32);
    return cast(in_f32, y);
  }
  const ImageShape shape{y.size(1), y.size(2), y.size(3)};
  const auto numel = static_cast<std::size_t>(shape.numel());
  const std::span<const std::uint8_t> images = in.images.data<std::uint8_t>();
  const std::int64_t* rows = in.placements.data<std::int64_t>().data();
  const std::span<const float, 3 * 256> normalise = in.normalise.data<float>().first<3 * 256>();
  const std::span<float> out = y.data<float>();
  for (std::int64_t n = 0; n < y.size(0); ++n) {
    const std::int64_t sample = placement_at(rows, n).sample;
    require(sample >= 0 && sample < in.images.size(0), "augment: sample {}, expected 0 to {}", sample,
            in.images.size(0) - 1);
  }
  parallel_for(y.size(0), 1, [&](std::int64_t n) {
    const Placement placement = placement_at(rows, n);
    augment_image(placement, shape, images.subspan(static_cast<std::size_t>(placement.sample) * numel, numel),
                  normalise, out.subspan(static_cast<std::size_t>(n) * numel, numel));
  });
}

}  // namespace generous

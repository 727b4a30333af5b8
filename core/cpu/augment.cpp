#include "core/cpu/augment.h"

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"

namespace generous {

namespace {

template <int channels>
void write_pixel(const std::uint8_t* pixel, const float* normalise, float* out) {
  for (int c = 0; c < channels; ++c) out[c] = normalise[256 * c + pixel[c]];
}

template <int channels>
void write_black(std::int64_t count, const float* normalise, float* out) {
  for (std::int64_t i = 0; i < count; ++i, out += channels)
    for (int c = 0; c < channels; ++c) out[c] = normalise[256 * c];
}

template <int channels>
void write_row(const SourceRow& row, std::int64_t width, const std::uint8_t* image, const float* normalise,
               float* out) {
  write_black<channels>(row.begin, normalise, out);
  const std::uint8_t* source = image + row.first * channels;
  for (std::int64_t x = row.begin; x < row.end; ++x, source += row.step * channels)
    write_pixel<channels>(source, normalise, out + x * channels);
  write_black<channels>(width - row.end, normalise, out + row.end * channels);
}

template <int channels>
void augment(const Placement& placement, const ImageShape& shape, const std::uint8_t* image,
             const float* normalise, float* out) {
  const std::int64_t width = shape.width;
  for (std::int64_t y = 0; y < shape.height; ++y, out += width * channels) {
    if (placement.rotated == 0) {
      write_row<channels>(source_row(placement, shape.height, width, y), width, image, normalise, out);
      continue;
    }
    for (std::int64_t x = 0; x < width; ++x) {
      const std::int64_t source = source_of(placement, shape.height, width, y, x);
      if (source >= 0)
        write_pixel<channels>(image + source * channels, normalise, out + x * channels);
      else
        write_black<channels>(1, normalise, out + x * channels);
    }
  }
}

}  // namespace

void augment_image(const Placement& placement, const ImageShape& shape, std::span<const std::uint8_t> image,
                   std::span<const float, 3 * 256> normalise, std::span<float> out) {
  const auto numel = static_cast<std::size_t>(shape.numel());
  require(image.size() == numel && out.size() == numel,
          "augment: {} bytes and {} floats for {} x {} x {} pixels", image.size(), out.size(), shape.height,
          shape.width, shape.channels);
  switch (shape.channels) {
    case 1:
      return augment<1>(placement, shape, image.data(), normalise.data(), out.data());
    case 2:
      return augment<2>(placement, shape, image.data(), normalise.data(), out.data());
    case 3:
      return augment<3>(placement, shape, image.data(), normalise.data(), out.data());
    default:
      fail("augment: images of {} channels, expected 1 to 3", shape.channels);
  }
}

void EigenBackend::augment(const AugmentInputs& in, Tensor& y) {
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

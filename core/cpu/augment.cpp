// Augmentation of a batch, pixel by pixel. The loader's own, row by row (data/augment.cpp), is faster where
// the images stay on the host.

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"
#include "core/placement.h"

namespace generous {

void EigenBackend::augment(const AugmentInputs& in, Tensor& y) {
  const std::int64_t height = y.size(1);
  const std::int64_t width = y.size(2);
  const std::int64_t channels = y.size(3);
  const std::uint8_t* images = in.images.data<std::uint8_t>().data();
  const std::int64_t* rows = in.placements.data<std::int64_t>().data();
  const float* table = in.normalise.data<float>().data();
  float* out = y.data<float>().data();
  for (std::int64_t n = 0; n < y.size(0); ++n) {
    const std::int64_t sample = placement_at(rows, n).sample;
    require(sample >= 0 && sample < in.images.size(0), "augment: sample {}, expected 0 to {}", sample,
            in.images.size(0) - 1);
  }
  parallel_for(y.size(0), 1, [&](std::int64_t n) {
    const Placement placement = placement_at(rows, n);
    const std::uint8_t* image = images + placement.sample * height * width * channels;
    float* pixel = out + n * height * width * channels;
    for (std::int64_t h = 0; h < height; ++h)
      for (std::int64_t w = 0; w < width; ++w)
        for (std::int64_t c = 0; c < channels; ++c) {
          const std::int64_t source = source_of(placement, height, width, h, w);
          *pixel++ = table[256 * c + (source < 0 ? 0 : image[source * channels + c])];
        }
  });
}

}  // namespace generous

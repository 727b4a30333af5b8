// Augmentation of a batch where its dataset lies, a thread for each pixel.

#include "core/placement.h"
#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"
#include "cuda/padding.h"
#include "cuda/place.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

struct Images {
  std::int64_t samples;  ///< M, of the dataset
  std::int64_t batch;    ///< N
  std::int64_t height, width, channels;
};

/// y {N, H, W, C} from images {M, H, W, C}; a sample outside [0, M) gives a black image. With `padded`, the
/// same again in {N, H, W, 8}, where C is less.
template <class T>
__global__ void augment_kernel(Images size, const std::uint8_t* __restrict__ images,
                               const std::int64_t* __restrict__ placements,
                               const float* __restrict__ normalise, T* __restrict__ y,
                               bfloat16* __restrict__ padded) {
  begin_kernel();
  const std::int64_t pixels = size.height * size.width;
  for_each_index(size.batch * pixels, [&](std::int64_t i) {
    const Place at = place_of(i, size.height, size.width, 1);
    const Placement placement = placement_at(placements, at.n);
    const bool erased = placement.erased.contains(at.h, at.w);
    const bool known = placement.sample >= 0 && placement.sample < size.samples;
    const std::int64_t source = known ? source_of(placement, size.height, size.width, at.h, at.w) : -1;
    Floats<padded_channels> values{};
    for (int c = 0; c < padded_channels; ++c) {  // C is at most 3
      if (c >= size.channels) break;
      const int value = source < 0 ? 0 : images[(placement.sample * pixels + source) * size.channels + c];
      const float number = erased ? 0.0F : normalise[256 * c + value];
      y[i * size.channels + c] = rounded<T>(number);
      if (padded != nullptr) values[c] = number;
    }
    if (padded != nullptr) store(padded + i * padded_channels, values);
  });
}

}  // namespace

void CudaBackend::augment(const AugmentInputs& in, Tensor& y) {
  const Images size{.samples = in.images.size(0),
                    .batch = y.size(0),
                    .height = y.size(1),
                    .width = y.size(2),
                    .channels = y.size(3)};
  PaddedImages* const room = room_for_padded(y);
  visit_floating(y.dtype(), [&]<class T>(T) {
    run("augment", grid_of(size.batch * size.height * size.width), augment_kernel<T>, size, in.images,
        in.placements, in.normalise, y, room == nullptr ? Tensor() : room->padded);
  });
  if (room != nullptr) note_padded(*room);
}

}  // namespace generous::cuda

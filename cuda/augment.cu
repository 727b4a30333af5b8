// Augmentation of a batch where its dataset lies, a thread for each pixel.

#include "core/placement.h"
#include "cuda/cuda_backend.h"

namespace generous::cuda {
namespace {

struct Images {
  std::int64_t samples;  ///< M, of the dataset
  std::int64_t batch;    ///< N
  std::int64_t height, width, channels;
};

/// y {N, H, W, C} from images {M, H, W, C}; a sample outside [0, M) gives a black image.
__global__ void augment_kernel(Images size, const std::uint8_t* __restrict__ images,
                               const std::int64_t* __restrict__ placements,
                               const float* __restrict__ normalise, float* __restrict__ y) {
  const std::int64_t pixels = size.height * size.width;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < size.batch * pixels; i += threads) {
    const std::int64_t n = i / pixels;
    const std::int64_t pixel = i - n * pixels;
    const std::int64_t row = pixel / size.width;
    const std::int64_t column = pixel - row * size.width;
    const Placement placement = placement_at(placements, n);
    const bool erased = placement.erased.contains(row, column);
    const bool known = placement.sample >= 0 && placement.sample < size.samples;
    const std::int64_t source = known ? source_of(placement, size.height, size.width, row, column) : -1;
    for (std::int64_t c = 0; c < size.channels; ++c) {
      const int value = source < 0 ? 0 : images[(placement.sample * pixels + source) * size.channels + c];
      y[i * size.channels + c] = erased ? 0.0F : normalise[256 * c + value];
    }
  }
}

}  // namespace

void CudaBackend::augment(const AugmentInputs& in, Tensor& y) {
  const Images size{.samples = in.images.size(0),
                    .batch = y.size(0),
                    .height = y.size(1),
                    .width = y.size(2),
                    .channels = y.size(3)};
  run("augment", grid_of(size.batch * size.height * size.width), augment_kernel, size, in.images,
      in.placements, in.normalise, y);
}

}  // namespace generous::cuda

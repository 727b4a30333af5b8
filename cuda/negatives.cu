// Samples of other classes for contrastive methods: a block for each row.

#include "core/negatives.h"
#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"

namespace generous::cuda {
namespace {

constexpr int negatives_threads = 256;

__global__ void negatives_kernel(std::int64_t images, std::int64_t classes, std::int64_t count,
                                 std::uint64_t key, const std::int64_t* __restrict__ step,
                                 const std::int64_t* __restrict__ labels,
                                 const std::int64_t* __restrict__ sorted,
                                 const std::int64_t* __restrict__ begin, float* __restrict__ y) {
  begin_kernel();
  const std::int64_t row = blockIdx.x;
  const std::int64_t label = labels[row];
  const bool known = label >= 0 && label < classes;  // otherwise an error on the CPU
  const NegativeRow draw(images, known ? begin[label] : 0, known ? begin[label + 1] : images, count,
                         negative_keys(key, step != nullptr ? *step : 0, row));
  float* drawn = y + row * images;
  for (std::int64_t rank = threadIdx.x; rank < images; rank += blockDim.x)
    drawn[sorted[rank]] = draw.always(rank);
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i < draw.rest; i += blockDim.x)
    drawn[sorted[draw.once_more(i)]] += 1.0F;  // each once
}

}  // namespace

void CudaBackend::draw_negatives(const Tensor& labels, const NegativeDraws& draws, Tensor& y) {
  const LaunchShape shape{.blocks = y.size(0), .threads = negatives_threads};
  run("draw_negatives", shape, negatives_kernel, y.size(1), draws.begin.numel() - 1, draws.count, draws.key,
      draws.step, labels, draws.sorted, draws.begin, y);
}

}  // namespace generous::cuda

// What follows the sums of a convolution, in one pass over y {N, P, Q, K} in place: y = activation(y + bias
// {K}
// [+ residual]). The arithmetic is in f32.

#include "core/functors.h"
#include "cuda/begin_kernel.h"
#include "cuda/channel_groups.h"
#include "cuda/cuda_backend.h"
#include "cuda/place.h"

namespace generous::cuda {
namespace {

/// bias and residual may be null. A thread takes `width` channels of a pixel at a time.
template <int width, class T>
__global__ void epilogue_kernel(std::int64_t groups, std::int64_t channels, const float* bias,
                                const T* residual, bool activated, float ceiling, T* y) {
  begin_kernel();
  for_each_index(groups, [&](std::int64_t group) {
    const std::int64_t first = group * width;
    Floats<width> values = load<width>(y + first);
    if (bias != nullptr) values += load<width>(bias + first % channels);
    if (residual != nullptr) values += load<width>(residual + first);
    if (activated)
      for (int i = 0; i < width; ++i) {
        const float positive = Relu::forward(values[i]);
        values[i] = positive > ceiling ? ceiling : positive;
      }
    store(y + first, values);
  });
}

}  // namespace

void CudaBackend::apply_epilogue(const Tensor& bias, const Conv2dEpilogue& epilogue, Tensor& y) {
  const std::int64_t channels = y.size(3);
  visit_groups(y.dtype(), channels, [&]<class T, int width>(T, Width<width>) {
    const std::int64_t groups = y.numel() / width;
    run("conv2d", grid_of(groups), epilogue_kernel<width, T>, groups, channels, bias, epilogue.residual,
        epilogue.activation != Activation::none, ceiling_of(epilogue.activation), y);
  });
}

}  // namespace generous::cuda

// The one way in which cuda/ starts a kernel: plain C++, so that a host compiler takes it as well as nvcc.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "cuda/check.h"

namespace generous::cuda {

/// How many blocks, of how many threads each.
struct LaunchShape {
  std::int64_t blocks = 1;
  int threads = 256;
};

/// One thread for each of `count` elements, or fewer threads that each take several in strides of the whole
/// grid.
inline LaunchShape grid_of(std::int64_t count, int threads = 256) {
  constexpr std::int64_t most_blocks = 16384;
  return {.blocks = std::clamp<std::int64_t>((count + threads - 1) / threads, 1, most_blocks),
          .threads = threads};
}

/// Starts `kernel` on `stream`. Throws Error that names `op` if the launch is refused; what goes wrong inside
/// the kernel shows later, when something waits for the stream (LaunchLog).
template <class... Parameters, class... Arguments>
void launch(std::string_view op, cudaStream_t stream, const LaunchShape& shape, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), op, "cudaLaunchKernelEx");
}

}  // namespace generous::cuda

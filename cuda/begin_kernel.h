// Programmatic dependent launch (compute capability 9.0 and later): the blocks of a kernel come in while
// those of the kernel before it on the stream end, so that the GPU loses no time between two kernels of a
// recorded step. What the kernel before wrote is there only behind begin_kernel(), which so has to be the
// first statement of every kernel: tests/cuda/compiler_bounds.py looks into what the compiler made of each
// one, and the emulation refuses a kernel that ends without it.
#pragma once

#include <cuda_runtime.h>

namespace generous::cuda {

/// Waits until the kernels before this one are done and what they wrote can be seen; then allows the blocks
/// of the next one to come in as these leave.
__device__ __forceinline__ void begin_kernel() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

}  // namespace generous::cuda

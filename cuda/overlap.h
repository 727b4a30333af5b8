// Whether kernels may come in while the one before them ends: begin_kernel.h. For the host.
#pragma once

#include <cuda_runtime.h>

namespace generous::cuda {

/// Whether kernels may be launched so: by this build's code on the current GPU, of compute capability
/// `major`, and inside a recording, which is tried on `stream`.
bool kernels_may_overlap(int major, cudaStream_t stream);

}  // namespace generous::cuda

// Every status of CUDA, cuBLAS and cuDNN goes through here: an error names the op and the call. The overloads
// for the libraries' own statuses are in blas.cpp and cudnn_descriptor.h.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

namespace generous::cuda {

/// Throws Error "OP: CALL failed: NAME (explanation)" unless `status` is success. `op` is what the user asked
/// for ("conv2d"), `call` the library's function ("cudaMalloc"). What a kernel did wrong is returned by
/// whatever call comes later: such an error is not put down to `op`, unless that call waited for the op
/// (wait_for).
void check(cudaError_t status, std::string_view op, std::string_view call);

/// Waits for what was just put on `stream` for `op`: an error inside it names the op.
void wait_for(cudaStream_t stream, std::string_view op);

}  // namespace generous::cuda

// Every status of CUDA, cuBLAS and cuDNN goes through here: an error names the op and the call. The overloads
// for the libraries' own statuses are in blas.cpp and cudnn_descriptor.h.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

namespace generous::cuda {

class LaunchLog;

/// Throws Error "OP: CALL failed: NAME (explanation)" unless `status` is success. `op` is what the user asked
/// for
/// ("conv2d"), `call` the library's function ("cudaMalloc"). What a kernel did wrong is returned by whatever
/// call comes later: such an error is put down to the op that the log names, not to `op`.
void check(cudaError_t status, std::string_view op, std::string_view call);

/// The log that `check` asks; null: none.
void report_through(const LaunchLog* log);

}  // namespace generous::cuda

// Every status of CUDA, cuBLAS and cuDNN goes through here: an error names the op and the call.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

namespace generous::cuda {

/// Throws Error "OP: CALL failed: NAME (explanation)" unless `status` is success. `op` is what the user asked for
/// ("conv2d"), `call` the library's function ("cudaMallocAsync").
void check(cudaError_t status, std::string_view op, std::string_view call);

}  // namespace generous::cuda

// Convolution by its definition.
#pragma once

#include <cuda_runtime.h>

#include "cuda/convolutions.h"

namespace generous::cuda {

/// Computes any problem, without a workspace, each sum in one order; far slower than the library.
void convolve_directly(const ConvolutionProblem& problem, const ConvolutionOperands& operands,
                       cudaStream_t stream);

}  // namespace generous::cuda

// Depthwise convolutions with 3x3 filters: every channel by itself, so that all three directions are bound by
// memory, and libraries that look for matrix products are slow (depthwise.cu).
#pragma once

#include "cuda/convolutions.h"

namespace generous::cuda {

/// Whether the problem is one of these: as many filters of 3x3 as channels and groups, and channels in fours.
bool is_depthwise(const ConvolutionProblem& problem);

}  // namespace generous::cuda

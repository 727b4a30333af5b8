// Convolutions of bf16 images that have few channels: the library's kernels are made for many, and most of
// what they do here is padding. On the tensor cores, from images kept in a multiprocessor's memory
// (few_channels.cu).
#pragma once

#include "cuda/convolutions.h"

namespace generous::cuda {

/// Whether the problem is one of these: bf16, 3x3, stride and padding 1, one group, rows of 16, 32 or 64
/// pixels, 16 channels on both sides (of dy, for the gradient of the weights, also 32), no sums.
bool has_few_channels(const ConvolutionProblem& problem);

}  // namespace generous::cuda

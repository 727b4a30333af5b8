// Images of a network's first convolution, in bf16: tensor cores take eight channels at a time, so the
// library would copy images of fewer into its workspace, with zeros beside them. Here they lie so from the
// start: the augmentation writes them twice, and optimisers write the weight so (shadows.h). The gradient of
// the weight alone is left to the library's copy: it would have to be cut again, a kernel more.
#pragma once

#include "core/params.h"
#include "cuda/shadows.h"

namespace generous::cuda {

/// What tensor cores take at a time.
constexpr int padded_channels = 8;

/// How many channels a convolution of images {..., C} reads: C, or with zeros behind them.
inline std::int64_t channels_read(const Conv2dParams& params, DType images, std::int64_t channels) {
  const bool pads = images == DType::bf16 && params.groups == 1 && channels < padded_channels;
  return pads ? padded_channels : channels;
}

/// {A, B, D, C} with eight channels.
inline Shape with_padding(const Shape& shape) { return {shape[0], shape[1], shape[2], padded_channels}; }

/// The companion of images {N, H, W, C} of bf16.
struct PaddedImages final : WorkedOut {
  Tensor padded;           ///< {N, H, W, 8}
  std::int64_t place = 0;  ///< where it was made: in the recording of this number, or outside (0)
};

}  // namespace generous::cuda

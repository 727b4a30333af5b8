// What a network computes, kernel by kernel: a forward pass is watched as it runs, and written down as a list
// of what was called, with its tensors and parameters. From that list the pass can be written in another
// form, such as ONNX.
#pragma once

#include <functional>
#include <variant>
#include <vector>

#include "core/backend.h"

namespace generous {

// One kernel each, named as in core/backend.h. Which tensor is meant is told by its storage: a reshaped
// tensor is the same one. Those of a list keep their storages, so that no two share an address.

/// y = activation(x * weight + bias [+ residual]); bias and residual may be undefined.
struct TracedConvolution {
  Conv2dParams params;
  Tensor x;
  Tensor weight;
  Tensor bias;
  Tensor residual;
  Activation activation = Activation::none;
  Tensor y;
};

/// With the running statistics.
struct TracedBatchNorm {
  BatchNormParams params;
  BatchNormInputs in;
  BatchNormStatistics running;
  Tensor y;
};

struct TracedMaxPool {
  Pool2dParams params;
  Tensor x;
  Tensor y;
};

/// Padding counts as zeros.
struct TracedAveragePool {
  Pool2dParams params;
  Tensor x;
  Tensor y;
};

struct TracedAdaptivePool {
  Tensor x;
  Tensor y;
};

struct TracedUnary {
  Unary op{};
  Tensor x;
  Tensor y;
};

struct TracedBinary {
  Binary op{};
  Tensor a;
  Tensor b;
  Tensor y;
};

/// c = alpha op(a) op(b) + beta c
struct TracedGemm {
  GemmParams params;
  Tensor a;
  Tensor b;
  Tensor c;
};

struct TracedBroadcast {
  Tensor x;
  Tensor y;
};

struct TracedChannels {
  std::int64_t groups = 1;
  std::vector<ChannelPart> from;
  std::vector<ChannelPart> to;
};

/// What layers prepare for themselves: a copy of a weight, or, where `of` is undefined, a tensor of one
/// value. The host may have changed it since.
struct TracedPreparation {
  Tensor of;
  Tensor y;
};

using TracedKernel =
    std::variant<TracedConvolution, TracedBatchNorm, TracedMaxPool, TracedAveragePool, TracedAdaptivePool,
                 TracedUnary, TracedBinary, TracedGemm, TracedBroadcast, TracedChannels, TracedPreparation>;

/// Runs `work` and returns the kernels that it called on a device, in the order of their calls. Throws Error
/// for one that is not among those above: a network in evaluation mode calls no others.
std::vector<TracedKernel> trace(Device device, const std::function<void()>& work);

}  // namespace generous

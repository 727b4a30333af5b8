// ShuffleNet (Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network for mobile
// devices", 2018), as published for CIFAR-100.
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// shufflev1: a 1x1 stem of 24 channels; stages 240/480/960 of 4/8/4 units in 3 groups, each of which halves
/// the image; the classifier sees the mean over the image.
std::unique_ptr<Network> make_shufflev1(const ModelOptions& options);

}  // namespace generous

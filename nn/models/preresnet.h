// Pre-activation residual networks (He et al., "Identity mappings in deep residual networks", 2016).
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// Stem 16, three stages 16/32/64 of (depth - 2) / 6 blocks each: two 3x3 convolutions, or from depth 44 on
/// bottlenecks 1x1, 3x3, 1x1 (four times the stage's width out); final batch norm + ReLU.
std::unique_ptr<Network> make_preresnet(int depth, const ModelOptions& options);

}  // namespace generous

// ResNeXt (Xie et al., "Aggregated residual transformations for deep neural networks", 2017).
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// resnext29: stem 64; three stages of (depth - 2) / 9 blocks, widen_factor times 64/128/256 channels. A
/// block is 1x1, 3x3 in `cardinality` groups of 64/128/256 channels, 1x1; its shortcut a 1x1 convolution
/// where the width changes. Settings: cardinality 8, depth 29, widen_factor 4; a depth that is not 9n + 2 is
/// an Error.
std::unique_ptr<ModelFamily> make_resnext_family();

}  // namespace generous

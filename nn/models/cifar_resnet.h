// The 6n+2 residual networks of CIFAR (He et al. 2016, section 4.2) and their four times wider variants.
#pragma once

#include "nn/models/resnet.h"

namespace generous {

/// Depth 6n+2: three stages of n basic blocks; stem 16 and stages 16/32/64, with `wide` stem 32 and
/// 64/128/256. Shortcuts are 1x1 convolutions with batch norm where the shape changes.
ResNetSpec cifar_resnet_spec(int depth, bool wide);

}  // namespace generous

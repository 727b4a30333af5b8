// Densely connected networks (Huang et al., "Densely connected convolutional networks", 2017).
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// Depth 121, 161, 169 or 201: a 3x3 stem of 2k channels; four blocks of layers that each add k channels, 32
/// (161: 48), to their input; between blocks half the channels and half the image. No concatenation is made:
/// a batch norm reads all parts where they are. Throws Error for images below 8x8.
std::unique_ptr<Network> make_densenet(int depth, const ModelOptions& options);

}  // namespace generous

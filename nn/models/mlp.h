// The multi-layer perceptron of the paper.
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// Flattened image - 512 - 512 - classes, with a ReLU after every layer, the last included.
std::unique_ptr<Network> make_mlp(const ModelOptions& options);

}  // namespace generous

// The plain convolutional network of the paper.
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// Three stages of 3x3 convolution, batch norm, 2x2 max pooling and ReLU, with c, 2c and 4c channels (c is
/// options.num_channels); then linear to 4c, batch norm, ReLU, dropout; linear to the classes.
/// Throws Error for images below 8x8.
std::unique_ptr<Network> make_net(const ModelOptions& options);

}  // namespace generous

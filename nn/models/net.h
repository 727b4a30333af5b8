// The plain convolutional network of the paper.
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// Three stages of 3x3 convolution, batch norm, 2x2 max pooling and ReLU, with c, 2c and 4c channels (c is
/// the setting num_channels); then linear to 4c, batch norm, ReLU, dropout (dropout_rate); linear to the
/// classes. Images below 8x8 are an Error.
std::unique_ptr<ModelFamily> make_net_family();

}  // namespace generous

// VGG networks for small images (Simonyan & Zisserman 2015).
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// Depth 8, 11, 13, 16 or 19: five stages of 3x3 convolutions with biases, 64/128/256/512/512 channels, a
/// ReLU after each, with `norms` a batch norm before it; 2x2 max pooling after the first three stages, after
/// the fourth too for images from 64x64 on; the classifier sees the mean over the image. Throws Error for
/// images below 8x8.
std::unique_ptr<Network> make_vgg(int depth, bool norms, const ModelOptions& options);

}  // namespace generous

// ShuffleNet V2 (Ma et al., "ShuffleNet V2: practical guidelines for efficient CNN architecture design",
// 2018), in two published forms for small images.
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// Biased convolutions; a 3x3 stem of 24 channels without ReLU; three stages of 4/8/4 units, each of which
/// halves the image, as wide as `ratio` says: 0.5, 1, 1.5 or 2, otherwise an Error; a 1x1 convolution to 1024
/// channels (ratio 2: 2048); the classifier sees the mean over the image.
std::unique_ptr<Network> make_shufflenetv2(double ratio, const ModelOptions& options);
/// The same with a setting `ratio`, 1.
std::unique_ptr<ModelFamily> make_shufflenetv2_family();

/// Convolutions without bias; a 1x1 stem of 24 channels with ReLU; stages 116/232/464; other paths in the
/// units that halve the image.
std::unique_ptr<Network> make_shufflev2(const ModelOptions& options);

}  // namespace generous

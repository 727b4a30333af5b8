// MobileNetV2 (Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018), in two
// published forms for small images.
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// Biased convolutions and ReLU6. Stem 1x1 with padding 1, which enlarges the image by 2; seven stages of
/// inverted residuals, of which 2, 3 and 4 halve the image; 1x1 to 1280; the classifier, a 1x1 convolution,
/// sees the mean over the image.
std::unique_ptr<Network> make_mobilenetv2(const ModelOptions& options);

/// Half as wide: convolutions without bias, ReLU; a 3x3 stem that halves the image, as stages 3, 4 and 6 do;
/// a linear classifier.
std::unique_ptr<Network> make_mobile_half(const ModelOptions& options);

}  // namespace generous

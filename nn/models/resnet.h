// Residual networks of basic or bottleneck blocks (He et al., "Deep residual learning for image recognition",
// 2016).
#pragma once

#include <vector>

#include "nn/layers.h"
#include "nn/models/registry.h"

namespace generous {

/// What tells the residual networks apart.
struct ResNetSpec {
  bool bottleneck = false;  ///< blocks of 1x1, 3x3, 1x1 (four times the stage's width out), not of two 3x3
  std::int64_t stem = 64;   ///< channels of the first 3x3 convolution
  std::vector<std::int64_t> widths;  ///< of the stages; all but the first halve the image
  std::vector<std::int64_t> blocks;  ///< of each stage
  Conv2dOptions::Weights weights = Conv2dOptions::Weights::fan_in;
  std::string shortcut_name = "shortcut";  ///< of the 1x1 convolution and batch norm where the shape changes
  std::string classifier_name = "linear";
};

/// Any H, W and C: the classifier sees the mean over the last stage's image.
std::unique_ptr<Network> make_resnet(const ResNetSpec& spec, const ModelOptions& options);

/// resnet18, 34, 50, 101 or 152: stem 64, stages 64/128/256/512; bottlenecks from 50 on.
ResNetSpec resnet_spec(int depth);

}  // namespace generous

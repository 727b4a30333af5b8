#include "nn/models/cifar_resnet.h"

namespace generous {

ResNetSpec cifar_resnet_spec(int depth, bool wide) {
  require(depth >= 8 && depth % 6 == 2, "cifar_resnet_spec: depth {} is not 6n+2", depth);
  const std::int64_t n = (depth - 2) / 6;
  ResNetSpec spec{.stem = 16, .widths = {16, 32, 64}, .blocks = {n, n, n}};
  if (wide) {
    spec.stem = 32;
    spec.widths = {64, 128, 256};
  }
  spec.weights = Conv2dOptions::Weights::fan_out;
  spec.shortcut_name = "downsample";
  spec.classifier_name = "fc";
  return spec;
}

}  // namespace generous

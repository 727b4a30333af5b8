// Networks: modules from images to logits that show what they compute on the way.
#pragma once

#include <vector>

#include "nn/layers.h"

namespace generous {

/// What a network shows of one forward pass beside its logits; images {N, H, W, C}. Which of them a network
/// has, and where it takes them, is written in its `forward`.
struct Features {
  bool wants_before_relu = false;  ///< set by the caller: `before_relu` is wanted too

  std::vector<Tensor> stages;  ///< [0] the stem's output, then one for each stage, behind its last ReLU
  /// As `stages`, before that ReLU; where a network's next layer is a batch norm with ReLU, behind that batch
  /// norm. [0] is stages[0] itself. Empty unless wanted, and in networks whose stages do not end in a ReLU.
  std::vector<Tensor> before_relu;
  /// As `stages`: the batch norm whose affine map feeds `before_relu`; nullptr where there is no single one.
  std::vector<const BatchNorm*> norms;
  Tensor pooled;  ///< {N, C}: what the classifier sees
};

class Network : public Module {
 public:
  /// x {N, H, W, C} -> logits {N, classes}. `features`, if not nullptr, is filled; it must be empty but for
  /// what is wanted. Without it nothing is kept.
  virtual Tensor forward(const Tensor& x, Features* features) = 0;
  Tensor forward(const Tensor& x) final { return forward(x, nullptr); }
};

}  // namespace generous

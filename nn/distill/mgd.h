// Yang et al., "Masked generative distillation", 2022.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// The student's images {N, H, W, in} in the teacher's channels (`align`, 1x1), some of which are zeroed and
/// generated again (`generation`, 3x3, ReLU, 3x3).
class MaskedGenerator : public Module {
 public:
  MaskedGenerator(std::int64_t in, std::int64_t out);
  /// `kept` {N, 1, 1, out}: 1 or 0 for each channel.
  Tensor forward(const Tensor& x, const Tensor& kept);
  /// With all channels.
  Tensor forward(const Tensor& x) override { return generation_(align_(x)); }

 private:
  Conv2d& align_;
  Sequential& generation_;
};

/// sum (generated - teacher)^2 / N of images {N, H, W, C}.
Tensor mgd_loss(const Tensor& generated, const Tensor& teacher);

/// CE + alpha * mgd_loss of the last stage, in the smaller size of the two; channels are zeroed at random
/// with probability lambda, anew for every image and step.
std::unique_ptr<Method> make_mgd();

}  // namespace generous

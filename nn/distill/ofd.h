// Heo et al., "A comprehensive overhaul of feature distillation", 2019; as mdistiller has it.
#pragma once

#include <memory>
#include <vector>

#include "nn/distill/method.h"

namespace generous {

/// The mean over the batch of the sum over images {N, H, W, C} of the partial square: (s - t)^2 where t > 0;
/// with the channel's margin m {C} < 0: (s - max(t, m))^2 where t <= 0 and s is larger, otherwise 0.
Tensor partial_l2(const Tensor& student, const Tensor& teacher, const Tensor& margins);

/// For each channel the mean of what is below 0 of a normal distribution of mean `bias` and deviation
/// |weight|; -3 |weight| where hardly anything is.
std::vector<float> ofd_margins(const std::vector<float>& weight, const std::vector<float>& bias);

/// CE + weight * sum over n stages i of 2^-(n - 1 - i) partial_l2, before the ReLU: a trained convolution and
/// batch norm of the student's stage against the teacher's, averaged to the student's size. The teacher is in
/// training mode, as published. Margins are from the teacher's batch norms.
std::unique_ptr<Method> make_ofd();

}  // namespace generous

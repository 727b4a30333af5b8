// Park et al., "Relational knowledge distillation", 2019.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// Smooth L1, mean over pairs, of the distances |x_j - x_i| (no root where `squared`), divided by their mean
/// over the pairs of different samples. Vectors {B, D} of each network's own D; 0 for B = 1.
Tensor rkd_distance_loss(const Tensor& student, const Tensor& teacher, bool squared, float eps);
/// Smooth L1, mean over triples i, j, k, of the cosine of the angle at i between x_j and x_k.
Tensor rkd_angle_loss(const Tensor& student, const Tensor& teacher);

/// CE + distance_weight * distances + angle_weight * angles, of what the classifiers see.
std::unique_ptr<Method> make_rkd();

}  // namespace generous

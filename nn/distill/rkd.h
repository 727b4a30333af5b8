// Park et al., "Relational knowledge distillation", 2019.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// The samples x {B, D} by pairs.
struct Pairs {
  explicit Pairs(const Tensor& x);
  Tensor differences;  ///< {B, B, D}: x_j - x_i at [i, j], exactly 0 where i = j
  Tensor squares;      ///< {B, B, 1}: their squared lengths
};

/// Smooth L1, mean over pairs, of the distances |x_j - x_i| (no root where `squared`), divided by their mean
/// over the pairs of different samples. Each network has its own D; 0 for B = 1.
Tensor rkd_distance_loss(const Pairs& student, const Pairs& teacher, bool squared, float eps);
/// Smooth L1, mean over triples i, j, k, of the cosine of the angle at i between x_j and x_k.
Tensor rkd_angle_loss(const Pairs& student, const Pairs& teacher);

/// CE + distance_weight * distances + angle_weight * angles, of what the classifiers see.
std::unique_ptr<Method> make_rkd();

}  // namespace generous

// Chen et al., "Distilling knowledge via knowledge review", 2021.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// Hierarchical context loss: the mean squared error of images {N, H, W, C} in their own size and averaged to
/// 4x4, 2x2 and 1x1, as far as these are smaller, with weights 1, 1/2, 1/4, ... of those that are used,
/// divided by the weights' sum.
Tensor context_loss(const Tensor& student, const Tensor& teacher);

/// CE + weight * min(epoch / warmup, 1) * sum over levels of context_loss. The levels, from the last one:
/// what the classifier sees, as 1x1 images, then the stages. The student's levels are fused from the last to
/// the first; the teacher's stages are seen before their ReLU.
std::unique_ptr<Method> make_reviewkd();

}  // namespace generous

// Peng et al., "Correlation congruence for knowledge distillation", 2019; as RepDistiller has it.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// mean over i of sum_k d_ik d_(i+1)k, d = |s - t|: the samples' distances from the teacher's should not go
/// together. Embeddings {B, D}; 0 for B = 1. (As published in code; the paper compares kernels of pairs.)
Tensor cc_loss(const Tensor& student, const Tensor& teacher);

/// CE + weight * cc_loss of linear embeddings of what the classifiers see, both trained.
std::unique_ptr<Method> make_cc();

}  // namespace generous

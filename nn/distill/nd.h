// Wang et al., "Improving knowledge distillation via regularizing feature norm and direction" (KD++), 2023.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// mean over the batch of 1 - <s_b, e_y / |e_y|> / max(|s_b|, |t_b|), e_y the centre of the label's class:
/// student, teacher {B, D}, centres {classes, D}, labels i64 {B}. The gradient flows through |s_b| where it
/// is the larger.
Tensor nd_loss(const Tensor& student, const Tensor& teacher, const Tensor& centres, const Tensor& labels);

/// CE + weight * nd_loss of what the classifiers see (KD++ has kd beside it). The centres are the teacher's
/// means over the training images of each class. Where the dimensions differ, the student's vector goes
/// through batch norm, dropout and a linear layer.
std::unique_ptr<Method> make_nd();

}  // namespace generous

// Guo et al., "Class attention transfer based knowledge distillation", 2023.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// mean (l2(pool(s)) - l2(pool(t)))^2 of class maps {N, H, W, classes}, averaged to resolution x resolution,
/// each map divided by its norm unless `normalize` is false.
Tensor cat_kd_loss(const Tensor& student, const Tensor& teacher, std::int64_t resolution, bool normalize);

/// CE + weight * cat_kd_loss. A network's class maps are its classifier at each pixel of its last stage,
/// whose averages are its logits.
std::unique_ptr<Method> make_cat_kd();

}  // namespace generous

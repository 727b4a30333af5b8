// Ahn et al., "Variational information distillation for knowledge transfer", 2019.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// mean 1/2 [(mu - t)^2 / v + log v], the negative logarithm of a normal density without its constant. Images
/// {N, H, W, C}, the variance v {C} of each channel.
Tensor vid_loss(const Tensor& mu, const Tensor& teacher, const Tensor& variance);

/// CE + weight * sum over stages of vid_loss, in the smaller size of the two: mu by three 1x1 convolutions of
/// the student's stage, the variance log(1 + exp(a)) + eps with a trained a of each channel.
std::unique_ptr<Method> make_vid();

}  // namespace generous

// Huang and Wang, "Like what you like: knowledge distill via neuron selectivity transfer", 2017.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// The squared maximum mean discrepancy of the channels' maps, each divided by its norm, with the kernel k(a,
/// b) = <a, b>^2: mean k(t, t) + mean k(s, s) - 2 mean k(s, t). Images {N, H, W, C} of the same H and W.
Tensor nst_loss(const Tensor& student, const Tensor& teacher);

/// CE + weight * sum over stages of nst_loss, in the smaller size of the two.
std::unique_ptr<Method> make_nst();

}  // namespace generous

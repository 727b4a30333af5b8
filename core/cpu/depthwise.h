// Depthwise convolutions with 3x3 filters, padding 1 and stride 1 or 2 in NHWC: every channel by itself, so
// that everything vectorises over the channels, and all three directions are bound by memory.
#pragma once

#include "core/params.h"

namespace generous {

/// Whether a convolution between x {N, H, W, C} of f32 or bf16 and weight {K, R, S, C/groups} is one of
/// these.
bool depthwise_applies(const Conv2dParams& params, const Tensor& x, const Shape& weight);

/// y {N, P, Q, C} = activation(x {N, H, W, C} convolved with weight {C, 3, 3, 1} [+ bias {C}]). Images are
/// f32 or bf16, the arithmetic is f32; with bf16 images the weight is rounded to bf16.
void depthwise_convolve(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        Activation activation, Tensor& y);
void depthwise_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight, Tensor& dx);
/// For stride 1 alone.
void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight);

}  // namespace generous

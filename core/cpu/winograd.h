// Convolutions with 3x3 filters, stride 1 and padding 1 by Winograd's F(4x4, 3x3) in NHWC (Lavin & Gray
// 2016): 4x4 outputs of a channel take 36 multiplications per input channel instead of 144. The image is cut
// into tiles, transforms of tiles and filters turn the convolution into 36 independent matrix products, and
// the transforms vectorise over the channels. Transforms: winograd_transforms.h.
#pragma once

#include "core/params.h"

namespace generous {

/// Whether a convolution between x {N, H, W, C} of f32 or bf16 and weight {K, R, S, C/groups} can be computed
/// this way, in all three directions.
bool winograd_applies(const Conv2dParams& params, const Tensor& x, const Shape& weight);
/// Whether the output and the gradient of x are faster this way than directly: a fixed rule of shape and
/// type. (The gradient of the weight always is.)
bool winograd_convolves_faster(const Tensor& x, const Shape& weight);

/// weight {K, 3, 3, C} transformed for `winograd_convolve` from C to K channels.
Tensor winograd_filter(const Tensor& weight);
/// The same for the gradient of the input, a convolution from K to C channels with mirrored taps.
Tensor winograd_filter_backward(const Tensor& weight);

/// y {N, H, W, K} = activation(x {N, H, W, C} convolved with a transformed filter [+ bias {K}] [+ residual]).
/// Images are f32 or bf16, the arithmetic is f32.
void winograd_convolve(const Tensor& x, const Tensor& filter, const Tensor& bias,
                       const Conv2dEpilogue& epilogue, Tensor& y);

/// dweight {K, 3, 3, C} of f32 from x {N, H, W, C} and dy {N, H, W, K}, both f32 or both bf16.
void winograd_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight);

}  // namespace generous

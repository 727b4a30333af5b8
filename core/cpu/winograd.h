// Convolutions with 3x3 filters, stride 1 and padding 1 by Winograd's F(4x4, 3x3) in NHWC (Lavin & Gray
// 2016): 4x4 outputs of a channel take 36 multiplications per input channel instead of 144. The image is cut
// into tiles, transforms of tiles and filters turn the convolution into 36 independent matrix products, and
// the transforms vectorise over the channels. Transforms: winograd_transforms.h.
#pragma once

#include "core/params.h"

namespace generous {

/// Whether a convolution between x {N, H, W, C} of f32 or bf16 and weight {K, R, S, C/groups} can be computed
/// this way and is faster than directly: its output and the gradient of x, or the gradient of the weight. A
/// fixed rule of shape and type, so that every run has the same bits.
bool winograd_convolves(const Conv2dParams& params, const Tensor& x, const Shape& weight);
bool winograd_differentiates(const Conv2dParams& params, const Tensor& x, const Shape& weight);

/// weight {K, 3, 3, C} transformed for `winograd_convolve` from C to K channels.
Tensor winograd_filter(const Tensor& weight);
/// The same for the gradient of the input, a convolution from K to C channels with mirrored taps.
Tensor winograd_filter_backward(const Tensor& weight);

/// What happens to the sums before they are stored: y = [relu](sums [+ bias] [+ residual]).
struct WinogradEpilogue {
  Tensor bias;      ///< {K} or undefined
  Tensor residual;  ///< shape of y or undefined
  bool relu = false;
};

/// y {N, H, W, K} = x {N, H, W, C} convolved with a transformed filter. Images are f32 or bf16, the
/// arithmetic is f32.
void winograd_convolve(const Tensor& x, const Tensor& filter, const WinogradEpilogue& epilogue, Tensor& y);

/// dweight {K, 3, 3, C} of f32 from x {N, H, W, C} and dy {N, H, W, K}, both f32 or both bf16.
void winograd_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight);

}  // namespace generous

// The gradients of convolutions with 1x1 filters in groups, stride 1, in NHWC: for every group a product of
// tall, narrow matrices, by our own inner kernel (block_product.h). Only where that is faster than oneDNN, by
// fixed rules, as measured with the groups of ShuffleNet.
#pragma once

#include "core/params.h"

namespace generous {

/// Whether dx {N, H, W, C} of f32 is the gradient of such a convolution, with weight {K, R, S, C/groups}.
bool grouped_pointwise_data_applies(const Conv2dParams& params, const Tensor& dx, const Shape& weight);
void grouped_pointwise_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                     Tensor& dx);

/// Whether weight {K, R, S, C/groups} is the filter of such a convolution of x {N, H, W, C}, f32 or bf16, and
/// there are pixels enough.
bool grouped_pointwise_weight_applies(const Conv2dParams& params, const Tensor& x, const Shape& weight);
void grouped_pointwise_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                                       Tensor& dweight);

}  // namespace generous

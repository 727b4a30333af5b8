// The differentiable operations. f32 unless said otherwise; images are {N, H, W, C}. Every op throws Error
// with its name and the shapes when they do not fit. Definitions: core/ops/, one file a family.
#pragma once

#include <array>

#include "core/autograd.h"
#include "core/params.h"

namespace generous {

// Elementwise, of either dtype (core/ops/elementwise.cpp). Two operands, of the same dtype, broadcast:
// right-aligned, an extent of 1 or a missing axis stretches to the other operand's.

Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator+(const Tensor& x, float shift);
Tensor operator-(const Tensor& x, float shift);
Tensor operator*(const Tensor& x, float scale);
Tensor operator*(float scale, const Tensor& x);
Tensor operator/(const Tensor& x, float divisor);
Tensor operator-(const Tensor& x);

Tensor relu(const Tensor& x);
Tensor relu6(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor square(const Tensor& x);
Tensor sigmoid(const Tensor& x);
/// log(1 + exp(x))
Tensor softplus(const Tensor& x);
/// x^2 / 2 where |x| < 1, otherwise |x| - 1/2.
Tensor smooth_l1(const Tensor& x);
Tensor abs(const Tensor& x);
/// 1 where x is positive, otherwise 0; its gradient is 0.
Tensor step(const Tensor& x);
/// Inverted dropout: zero with probability p, otherwise x / (1 - p). `params.step` must not change before the
/// gradient is computed, which draws the same mask again.
Tensor dropout(const Tensor& x, const DropoutParams& params);
/// f32 <-> bf16 (differentiable), u8 -> f32.
Tensor cast(const Tensor& x, DType dtype);

// Shapes and reductions (core/ops/reduce.cpp), of either dtype; what sums is f32

/// The same elements under another shape.
Tensor reshape(const Tensor& x, const Shape& shape);
/// x repeated to `shape`, which it must broadcast to.
Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// x summed to `shape`, which must broadcast to x's shape.
Tensor sum_to(const Tensor& x, const Shape& shape);
/// {}: the sum, the mean of all elements.
Tensor sum(const Tensor& x);
Tensor mean(const Tensor& x);
/// x {B, C} -> {B, 1}: sum, mean and unbiased standard deviation (divides by C - 1) of each row.
Tensor sum_rows(const Tensor& x);
Tensor mean_rows(const Tensor& x);
Tensor std_rows(const Tensor& x);

// Channels, the last axis, of either dtype (core/ops/channels.cpp)

/// Parts {..., c_i} side by side: {..., sum c_i}.
Tensor concat(const std::vector<Tensor>& parts);
/// The reverse: x {..., C} as parts {..., c_i} for counts c_i that sum to C.
std::vector<Tensor> split_channels(const Tensor& x, const std::vector<std::int64_t>& counts);
/// x {..., C} -> {..., count}: channels first, first + 1, ...
Tensor slice_channels(const Tensor& x, std::int64_t first, std::int64_t count);
/// Channel k of group g moves to k * groups + g. (ShuffleNet, Zhang et al. 2018)
Tensor channel_shuffle(const Tensor& x, std::int64_t groups);
/// The halves of channel_shuffle(concat({a, b}), 2) in one pass: what a unit of ShuffleNet V2 (Ma et al.
/// 2018) leaves to the next one, which splits it. a and b {..., C / 2}, C / 2 even.
std::array<Tensor, 2> shuffled_halves(const Tensor& a, const Tensor& b);

// Logits {B, C} and labels {B} of i64 (core/ops/softmax.cpp)

/// log H(x), row by row; stable for any finite logits.
Tensor log_softmax(const Tensor& x);
/// {}: mean over the batch of -log H(x)[label]. Throws Error for a label outside [0, C).
Tensor cross_entropy(const Tensor& logits, const Tensor& labels);
/// {B, classes}, no gradient.
Tensor one_hot(const Tensor& labels, std::int64_t classes);
/// i64 {B}: the class of each row's largest logit, of equal ones the lowest.
Tensor argmax_rows(const Tensor& x);
/// {B, 1}: the largest logit of each row; the gradient goes to the one of argmax_rows.
Tensor max_rows(const Tensor& x);
/// {}, no gradient: how many rows have their label among the k largest logits; of equal logits the lower
/// class index wins.
Tensor count_top_k(const Tensor& logits, const Tensor& labels, std::int64_t k);

// Dense (core/ops/dense.cpp)

/// op(a) op(b), where op transposes a matrix if asked.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);
/// The same for every pair of matrices of a {B, ...} and b {B, ...}.
Tensor batched_matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);
/// x {B, in}, weight {out, in}, bias {out} or undefined -> {B, out}.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

// Rows by their numbers (core/ops/gather.cpp)

/// x {M, D}, indices {B} or {B, K} of i64 in [0, M) -> {B, D} or {B, K, D}: row i is x[indices[i]]. Throws
/// Error for an index outside, on the CPU; on a GPU it gives zeros.
Tensor gather_rows(const Tensor& x, const Tensor& indices);

// Contrastive methods (core/ops/negatives.cpp)

/// {B, N}, no gradient: how often each of N images is drawn for each label of labels {B} of i64, as an image
/// of another class.
Tensor draw_negatives(const Tensor& labels, const NegativeDraws& draws);

// Convolution, pooling, batch norm (core/ops/conv.cpp, pool.cpp, resample.cpp, batch_norm.cpp)

/// x {N, H, W, C}, weight {K, R, S, C/groups}, bias {K} or undefined -> {N, P, Q, K} with
/// P = (H + 2 padding - R) / stride + 1.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dParams& params);
/// conv2d without bias + residual {N, P, Q, K}, in one pass where the device has one.
Tensor conv2d_add(const Tensor& x, const Tensor& weight, const Tensor& residual, const Conv2dParams& params);
/// The transpose of a convolution, the gradient of its input: x {N, P, Q, K}, weight {K, R, S, C/groups},
/// bias {C} or undefined -> {N, H, W, C} with H = (P - 1) stride - 2 padding + R.
Tensor conv2d_transpose(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const Conv2dParams& params);
/// conv2d and what follows it in one pass, for a filter that is no longer trained:
/// y = activation(x * weight + bias [+ residual]). Throws Error if an argument needs a gradient: there is
/// none through this op.
Tensor conv2d_inference(const Tensor& x, FrozenFilter& filter, const Conv2dParams& params,
                        const Conv2dEpilogue& epilogue = {});
/// The largest element of each window, the first of equals.
Tensor max_pool2d(const Tensor& x, const Pool2dParams& params);
/// The mean of each window, padding counted as zeros.
Tensor avg_pool2d(const Tensor& x, const Pool2dParams& params);
/// x {N, H, W, C} of either dtype -> f32 {N, C}, any H and W.
Tensor global_avg_pool(const Tensor& x);
/// x {N, H, W, C} -> {N, height, width, C}: the means of windows that cover x, of nearly equal size: of n
/// pixels along an axis, the i-th of m windows has those from floor(i n / m) to ceil((i + 1) n / m).
Tensor adaptive_avg_pool2d(const Tensor& x, std::int64_t height, std::int64_t width);
/// x {N, H, W, C} -> {N, height, width, C}: each pixel is the nearest one of x, as PyTorch's "nearest" takes
/// it.
Tensor upsample_nearest(const Tensor& x, std::int64_t height, std::int64_t width);
/// Over all axes but the last: y = activation(gamma * (x - mean) / sqrt(var + epsilon) + beta [+ residual]).
/// Training uses the batch's statistics (biased variance) and moves `running` towards them (unbiased
/// variance); evaluation uses `running`. (Ioffe & Szegedy 2015)
/// With several parts, x is their concatenation, which is never made: y is all that is written, and in
/// training what is found out about a part is kept with it, for the next op that is given a copy of it. So a
/// layer of a DenseNet keeps its y, but no second tensor as large as that.
Tensor batch_norm(const BatchNormInputs& in, BatchNormStatistics& running, const BatchNormParams& params);

}  // namespace generous

// Convolution by cuDNN, which wants all three tensors in one type; what it is slow at goes to kernels of our
// own (depthwise.cu, few_channels.cu), and so does what it has no algorithm for (conv_direct.cu).

#include "cuda/conv_direct.h"
#include "cuda/cuda_backend.h"
#include "cuda/depthwise.h"
#include "cuda/few_channels.h"
#include "cuda/output_sums.h"
#include "cuda/padding.h"
#include "cuda/parts.h"

namespace generous::cuda {
namespace {

/// A frozen filter in the type of its images.
struct RoundedFilter final : PreparedFilter {
  Tensor weight;  ///< bf16
  Tensor bias;    ///< likewise, or undefined
};

/// Whether a filter reads single pixels, not all of them, and is small.
bool skips_pixels(const Conv2dParams& params, const Tensor& weight) {
  constexpr std::int64_t most_weights = 64 * 32;
  return weight.size(1) == 1 && weight.size(2) == 1 && params.stride > 1 && params.padding == 0 &&
         params.groups == 1 && weight.numel() <= most_weights;
}

}  // namespace

Tensor CudaBackend::rounded(const Tensor& weight, DType dtype, std::int64_t channels) {
  return weight.dtype() == dtype ? weight : parts_->shadows.of(weight, channels);
}

Tensor CudaBackend::images_read(const Conv2dParams& params, const Tensor& x) {
  return channels_read(params, x.dtype(), x.size(3)) == x.size(3) ? x : padded(x);
}

Tensor CudaBackend::filter_read(const Conv2dParams& params, const Tensor& weight, DType images) {
  return rounded(weight, images, channels_read(params, images, weight.size(3)));
}

void CudaBackend::convolve(const ConvolutionWork& work) {
  if (is_depthwise(work.problem)) return convolve_depthwise(work.problem, work.operands);
  if (convolve_at_once(work)) return;
  convolve_directly(work.problem, work.operands, stream());
  launched(name_of(work.problem.direction));
}

bool CudaBackend::convolve_and_sum(ConvolutionWork work, const Tensor& weight, Tensor& y) {
  auto& [problem, operands] = work;
  const std::shared_ptr<Shadow> shadow = Shadows::find(weight);
  if (parts_->choice.convolutions != ConvolutionChoice::measured || shadow == nullptr) return false;
  const auto sums = std::make_shared<OutputSums>(shadow, y.numel());
  y.companion() = sums;
  if (!shadow->sums_wanted || is_depthwise(problem) || has_few_channels(problem)) return false;
  problem.sums = true;
  const auto apart = [&] { batch_moments(y); };  // of whatever y holds
  if (!parts_->convolutions.sums_pay(problem, apart, parts_->recording())) return false;
  sums->sum = Tensor::empty({y.size(3)}, DType::f32, Device::cuda);
  sums->square_sum = Tensor::empty({y.size(3)}, DType::f32, Device::cuda);
  operands.sum = sums->sum.raw();
  operands.square_sum = sums->square_sum.raw();
  sums->fresh = convolve_at_once(work);
  return sums->fresh;
}

bool CudaBackend::convolve_at_once(const ConvolutionWork& work) {
  if (has_few_channels(work.problem)) {
    convolve_few_channels(work.problem, work.operands);
    return true;
  }
  if (!parts_->convolutions.run(work.problem, work.operands, parts_->recording())) return false;
  launched(name_of(work.problem.direction));
  return true;
}

// With a bias the library has kernels for what follows the sums; without, it would have to compile others.
std::optional<ConvolutionWork> CudaBackend::at_once(const Conv2dParams& params, const Tensor& x,
                                                    const Tensor& filter, const Tensor& bias,
                                                    const Conv2dEpilogue& epilogue, Tensor& y) const {
  const ConvolutionWork work{.problem = {.direction = Direction::forward,
                                         .dtype = x.dtype(),
                                         .params = params,
                                         .x = x.shape(),
                                         .weight = filter.shape(),
                                         .y = y.shape(),
                                         .epilogue = {.bias = true,
                                                      .residual = epilogue.residual.defined(),
                                                      .activation = epilogue.activation}},
                             .operands = {.x = x.raw(),
                                          .weight = filter.raw(),
                                          .y = y.raw(),
                                          .bias = bias.defined() ? bias.raw() : parts_->zeros.block(),
                                          .residual = epilogue.residual.raw()}};
  const bool enough_zeros = static_cast<std::size_t>(y.size(3)) * size_of(x.dtype()) <= bytes_of_zeros;
  if (!bias.defined() && (!enough_zeros || is_depthwise(work.problem))) return std::nullopt;
  return work;
}

void CudaBackend::convolve_forward(const Conv2dParams& params, const Tensor& images, const Tensor& filter,
                                   const Tensor& summed_for, Tensor& y) {
  const ConvolutionWork work{.problem = {.direction = Direction::forward,
                                         .dtype = images.dtype(),
                                         .params = params,
                                         .x = images.shape(),
                                         .weight = filter.shape(),
                                         .y = y.shape()},
                             .operands = {.x = images.raw(), .weight = filter.raw(), .y = y.raw()}};
  if (summed_for.defined() && convolve_and_sum(work, summed_for, y)) return;
  convolve(work);
}

void CudaBackend::conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight,
                         const Tensor& bias, Tensor& y) {
  if (y.numel() == 0) return;
  const Tensor images = images_read(params, x);
  const Tensor filter = filter_read(params, weight, x.dtype());
  convolve_forward(params, images, filter, bias.defined() ? Tensor() : weight, y);
  if (bias.defined()) apply_epilogue(bias, {}, y);
}

void CudaBackend::conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                                   const Conv2dEpilogue& epilogue, Tensor& y) {
  if (y.numel() == 0) return;
  Tensor weight = filter.weight;
  Tensor bias = filter.bias;
  if (x.dtype() != weight.dtype()) {
    auto prepared = std::dynamic_pointer_cast<RoundedFilter>(filter.prepared);
    if (prepared == nullptr) {
      prepared = std::make_shared<RoundedFilter>();
      prepared->weight = filter_read(params, weight, x.dtype());
      if (bias.defined()) prepared->bias = rounded(bias, x.dtype(), bias.numel());
      // What is recorded has not run yet, and may never.
      if (!parts_->recording()) filter.prepared = prepared;
    }
    weight = prepared->weight;
    bias = prepared->bias;
  }
  const Tensor images = images_read(params, x);
  const bool plain =
      !bias.defined() && epilogue.activation == Activation::none && !epilogue.residual.defined();
  if (!plain)
    if (const auto work = at_once(params, images, weight, bias, epilogue, y); work && convolve_at_once(*work))
      return;
  convolve_forward(params, images, weight, {}, y);
  if (!plain) apply_epilogue(filter.bias, epilogue, y);
}

void CudaBackend::conv2d_add(const Conv2dParams& params, const Tensor& x, const Tensor& weight,
                             const Tensor& residual, Tensor& y) {
  if (y.numel() == 0) return;
  const Conv2dEpilogue epilogue{.residual = residual, .activation = Activation::none};
  const Tensor images = images_read(params, x);
  const Tensor filter = filter_read(params, weight, x.dtype());
  if (const auto work = at_once(params, images, filter, {}, epilogue, y))
    if (convolve_and_sum(*work, weight, y) || convolve_at_once(*work)) return;
  convolve_forward(params, images, filter, {}, y);
  apply_epilogue({}, epilogue, y);
}

void CudaBackend::backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight, bool adds,
                                Tensor& dx) {
  if (dx.numel() == 0) return;
  const Tensor filter = filter_read(params, weight, dy.dtype());
  const bool pads = filter.size(3) != weight.size(3);
  const Tensor result = pads ? Tensor::empty(with_padding(dx.shape()), dx.dtype(), Device::cuda) : dx;
  convolve({.problem = {.direction = Direction::backward_data,
                        .dtype = dy.dtype(),
                        .params = params,
                        .x = result.shape(),
                        .weight = filter.shape(),
                        .y = dy.shape(),
                        .adds = adds && !pads},
            .operands = {.x = result.raw(), .weight = filter.raw(), .y = dy.raw()}});
  if (pads) cut(result, adds, dx);
}

void CudaBackend::conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                       Tensor& dx) {
  backward_data(params, dy, weight, false, dx);
}

void CudaBackend::accumulate_conv2d_backward_data(const Conv2dParams& params, const Tensor& dy,
                                                  const Tensor& weight, Tensor& dx) {
  backward_data(params, dy, weight, true, dx);
}

void CudaBackend::conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                                         Tensor& dweight) {
  if (dy.numel() == 0) return fill(dweight, 0.0);
  if (x.dtype() == DType::bf16 && skips_pixels(params, dweight)) {
    // A product with the pixels that are read: what the library picks first can be one block that adds up
    // all.
    Tensor pixels = Tensor::empty({dy.size(0), dy.size(1), dy.size(2), x.size(3)}, x.dtype(), Device::cuda);
    avg_pool({.kernel_h = 1, .kernel_w = 1, .stride = params.stride}, x, pixels);
    const auto matrix = [](const Tensor& of) { return of.view({of.numel() / of.size(-1), of.size(-1)}); };
    Tensor product = matrix(dweight);
    return gemm({.transpose_a = true}, matrix(dy), matrix(pixels), product);
  }
  // With bf16 images the library's sums are f32's and its result is bf16.
  const bool direct = dweight.dtype() == x.dtype();
  const Tensor result = direct ? dweight : Tensor::empty(dweight.shape(), x.dtype(), Device::cuda);
  convolve({.problem = {.direction = Direction::backward_weight,
                        .dtype = x.dtype(),
                        .params = params,
                        .x = x.shape(),
                        .weight = dweight.shape(),
                        .y = dy.shape()},
            .operands = {.x = x.raw(), .weight = result.raw(), .y = dy.raw()}});
  if (!direct) cast(result, dweight);
}

}  // namespace generous::cuda

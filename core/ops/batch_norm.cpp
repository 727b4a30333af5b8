// Batch normalisation (Ioffe & Szegedy 2015), fused with an optional residual and ReLU. Kernel formulas:
// backend.h.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

void check_arguments(const BatchNormInputs& in, const BatchNormStatistics& running,
                     const BatchNormParams& params) {
  check_device("batch_norm", {&in.x, &in.gamma});
  check_floating("batch_norm", {&in.x});
  check_f32("batch_norm", {&in.gamma, &in.beta, &running.mean, &running.variance});
  require(in.x.shape().rank() >= 2, "batch_norm: x needs at least two axes, not shape {}",
          in.x.shape().str());
  const Shape channels{in.x.size(-1)};
  for (const Tensor* vector : {&in.gamma, &in.beta, &running.mean, &running.variance})
    require(vector->shape() == channels, "batch_norm: x {} does not fit a parameter or statistic of shape {}",
            in.x.shape().str(), vector->shape().str());
  if (in.residual.defined()) {
    check_floating("batch_norm", {&in.x, &in.residual});
    require(in.residual.shape() == in.x.shape(), "batch_norm: x {} does not fit the residual {}",
            in.x.shape().str(), in.residual.shape().str());
  }
  require(!params.training || in.x.numel() > channels[0],
          "batch_norm: training needs more than one value per channel, not shape {}", in.x.shape().str());
}

/// 1 / sqrt(variance + epsilon) {C}: what the backward pass in evaluation mode needs.
Tensor inverse_std_of(const Tensor& variance, float epsilon) {
  return Tensor::full(variance.shape(), 1.0F, variance.device()) / sqrt(variance.detach() + epsilon);
}

}  // namespace

Tensor batch_norm(const BatchNormInputs& in, BatchNormStatistics& running, const BatchNormParams& params) {
  check_arguments(in, running, params);
  Tensor y = empty_like(in.x);
  Tensor mean;
  Tensor inverse_std;
  const bool differentiable = needs_gradient(in.x) || needs_gradient(in.gamma) || needs_gradient(in.beta) ||
                              needs_gradient(in.residual);
  if (params.training) {
    mean = empty_like(in.gamma);
    inverse_std = empty_like(in.gamma);
    backend_of(y).batch_norm_train(params, in, running, mean, inverse_std, y);
  } else {
    backend_of(y).batch_norm_eval(params, in, running, y);
    if (differentiable) {
      const NoGrad guard;
      mean = running.mean.clone();
      inverse_std = inverse_std_of(running.variance, params.epsilon);
    }
  }
  const BatchNormSaved saved{.x = in.x.detach(),
                             .y = params.relu ? y : Tensor(),
                             .gamma = in.gamma.detach(),
                             .beta = in.residual.defined() ? Tensor() : in.beta.detach(),
                             .mean = mean,
                             .inverse_std = inverse_std};
  const bool need_residual = needs_gradient(in.residual);
  return record("batch_norm", y, {in.x, in.gamma, in.beta, in.residual},
                [params, saved, need_residual](const Tensor& dy) -> Gradients {
                  BatchNormGradients out{.dx = empty_like(saved.x),
                                         .dgamma = empty_like(saved.gamma),
                                         .dbeta = empty_like(saved.gamma),
                                         .dresidual = {}};
                  if (need_residual && params.relu) out.dresidual = empty_like(dy);
                  backend_of(dy).batch_norm_backward(params, saved, dy, out);
                  if (need_residual && !params.relu) out.dresidual = dy;
                  return {out.dx, out.dgamma, out.dbeta, out.dresidual};
                });
}

}  // namespace generous

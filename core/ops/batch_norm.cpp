// Batch normalisation (Ioffe & Szegedy 2015), fused with an optional residual and ReLU. Kernel formulas:
// backend.h.

#include <algorithm>

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

/// The shape {..., C} of x as a whole; checks that everything fits it.
Shape check_arguments(const BatchNormInputs& in, const BatchNormStatistics& running,
                      const BatchNormParams& params) {
  require(!in.parts.empty(), "batch_norm: x has no parts");
  const Tensor& first = in.parts[0].x;
  check_device("batch_norm", {&first, &in.gamma});
  check_f32("batch_norm", {&in.gamma, &in.beta, &running.mean, &running.variance});
  std::int64_t count = 0;
  for (const auto& [x, moments] : in.parts) {
    check_floating("batch_norm", {&first, &x});
    require(x.shape().rank() >= 2, "batch_norm: x needs at least two axes, not shape {}", x.shape().str());
    if (with_channels(x.shape(), 0) != with_channels(first.shape(), 0))
      fail("batch_norm: parts {} and {} of x differ in more than the last axis", first.shape().str(),
           x.shape().str());
    count += x.size(-1);
  }
  const Shape shape = with_channels(first.shape(), count);
  const Shape channels{count};
  for (const Tensor* vector : {&in.gamma, &in.beta, &running.mean, &running.variance})
    require(vector->shape() == channels, "batch_norm: x {} does not fit a parameter or statistic of shape {}",
            shape.str(), vector->shape().str());
  if (in.residual.defined()) {
    check_floating("batch_norm", {&first, &in.residual});
    require(in.residual.shape() == shape, "batch_norm: x {} does not fit the residual {}", shape.str(),
            in.residual.shape().str());
  }
  require(!params.training || shape.numel() > count,
          "batch_norm: training needs more than one value per channel, not shape {}", shape.str());
  return shape;
}

/// 1 / sqrt(variance + epsilon) {C}: what the backward pass in evaluation mode needs.
Tensor inverse_std_of(const Tensor& variance, float epsilon) {
  return Tensor::full(variance.shape(), 1.0F, variance.device()) / sqrt(variance.detach() + epsilon);
}

}  // namespace

Tensor batch_norm(const BatchNormInputs& in, BatchNormStatistics& running, const BatchNormParams& params) {
  Tensor y = empty_beside(in.parts.empty() ? Tensor() : in.parts[0].x, check_arguments(in, running, params));
  Tensor mean;
  Tensor inverse_std;
  std::vector<Tensor> inputs;
  BatchNormSaved saved;
  saved.parts = in.parts;
  for (BatchNormPart& part : saved.parts) {
    inputs.push_back(part.x);
    part.x = part.x.detach();
  }
  inputs.insert(inputs.end(), {in.gamma, in.beta, in.residual});
  if (params.training) {
    mean = empty_like(in.gamma);
    inverse_std = empty_like(in.gamma);
    backend_of(y).batch_norm_train(params, in, running, mean, inverse_std, y);
  } else {
    backend_of(y).batch_norm_eval(params, in, running, y);
    if (std::any_of(inputs.begin(), inputs.end(), needs_gradient)) {
      const NoGrad guard;
      mean = running.mean.clone();
      inverse_std = inverse_std_of(running.variance, params.epsilon);
    }
  }
  const bool activated = params.activation != Activation::none;
  saved.y = activated ? y : Tensor();
  saved.gamma = in.gamma.detach();
  saved.beta = in.residual.defined() ? Tensor() : in.beta.detach();
  saved.mean = mean;
  saved.inverse_std = inverse_std;
  const bool need_residual = needs_gradient(in.residual);
  return record_adding(
      "batch_norm", y, inputs, saved.parts.size(),
      [params, saved, need_residual, activated](const Tensor& dy, const Gradients& so_far) -> Gradients {
        BatchNormGradients out{.parts = {},
                               .dgamma = empty_like(saved.gamma),
                               .dbeta = empty_like(saved.gamma),
                               .dresidual = {}};
        Gradients gradients;
        for (std::size_t i = 0; i < saved.parts.size(); ++i) {
          const bool add = so_far[i].defined();
          gradients.push_back(add ? so_far[i] : empty_like(saved.parts[i].x));
          out.parts.push_back({gradients.back(), add});
        }
        if (need_residual && activated) out.dresidual = empty_like(dy);
        backend_of(dy).batch_norm_backward(params, saved, dy, out);
        if (need_residual && !activated) out.dresidual = dy;
        gradients.insert(gradients.end(), {out.dgamma, out.dbeta, out.dresidual});
        return gradients;
      });
}

}  // namespace generous

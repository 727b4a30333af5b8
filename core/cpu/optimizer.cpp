// Optimiser steps, in place, one pass over a parameter.

#include <cmath>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"

namespace generous {
namespace {

void sgd_update(const SgdParams& params, float learning_rate, const SgdUpdate& update) {
  Tensor velocity = update.velocity;
  Tensor parameter = update.parameter;
  const float* grad = update.gradient.data<float>().data();
  auto* v = static_cast<float*>(velocity.raw());
  float* w = parameter.data<float>().data();
  parallel_ranges(parameter.numel(), elementwise_grain, [=](std::int64_t begin, std::int64_t end, int) {
    if (v == nullptr) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i)
        w[i] -= learning_rate * (grad[i] + params.weight_decay * w[i]);
      return;
    }
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = grad[i] + params.weight_decay * w[i];
      const float velocity_now = params.momentum * v[i] + g;
      v[i] = velocity_now;
      w[i] -= learning_rate * (params.nesterov ? g + params.momentum * velocity_now : velocity_now);
    }
  });
}

void adam_update(const AdamParams& params, float learning_rate, const AdamUpdate& update) {
  Tensor first_moment = update.first_moment;
  Tensor second_moment = update.second_moment;
  Tensor parameter = update.parameter;
  Tensor counter = update.step;
  const float* grad = update.gradient.data<float>().data();
  float* m = first_moment.data<float>().data();
  float* v = second_moment.data<float>().data();
  float* w = parameter.data<float>().data();
  const auto step = static_cast<double>(++counter.data<std::int64_t>()[0]);
  const double correction1 = 1.0 - std::pow(static_cast<double>(params.beta1), step);
  const double correction2 = 1.0 - std::pow(static_cast<double>(params.beta2), step);
  const auto rate = static_cast<float>(static_cast<double>(learning_rate) / correction1);
  const auto inverse_root = static_cast<float>(1.0 / std::sqrt(correction2));
  const float decay = params.decoupled ? 0.0F : params.weight_decay;
  const float kept = params.decoupled ? 1.0F - learning_rate * params.weight_decay : 1.0F;
  parallel_ranges(parameter.numel(), elementwise_grain, [=](std::int64_t begin, std::int64_t end, int) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = grad[i] + decay * w[i];
      m[i] = params.beta1 * m[i] + (1.0F - params.beta1) * g;
      v[i] = params.beta2 * v[i] + (1.0F - params.beta2) * g * g;
      w[i] = kept * w[i] - rate * m[i] / (std::sqrt(v[i]) * inverse_root + params.epsilon);
    }
  });
}

}  // namespace

void EigenBackend::sgd_step(const SgdParams& params, const Tensor& learning_rate,
                            std::span<const SgdUpdate> updates) {
  for (const SgdUpdate& update : updates) sgd_update(params, learning_rate.data<float>()[0], update);
}

void EigenBackend::adam_step(const AdamParams& params, const Tensor& learning_rate,
                             std::span<const AdamUpdate> updates) {
  for (const AdamUpdate& update : updates) adam_update(params, learning_rate.data<float>()[0], update);
}

}  // namespace generous

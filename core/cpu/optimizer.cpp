// Optimiser steps, in place, one pass over a parameter.

#include <cmath>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"

namespace generous {

void EigenBackend::sgd_step(const SgdParams& params, const Tensor& gradient, Tensor& velocity,
                            Tensor& parameter) {
  const float* grad = gradient.data<float>().data();
  auto* v = static_cast<float*>(velocity.raw());
  float* w = parameter.data<float>().data();
  parallel_ranges(parameter.numel(), elementwise_grain, [=](std::int64_t begin, std::int64_t end, int) {
    if (v == nullptr) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i)
        w[i] -= params.learning_rate * (grad[i] + params.weight_decay * w[i]);
      return;
    }
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = grad[i] + params.weight_decay * w[i];
      const float velocity_now = params.momentum * v[i] + g;
      v[i] = velocity_now;
      w[i] -= params.learning_rate * (params.nesterov ? g + params.momentum * velocity_now : velocity_now);
    }
  });
}

void EigenBackend::adam_step(const AdamParams& params, const Tensor& gradient, Tensor& first_moment,
                             Tensor& second_moment, Tensor& parameter) {
  const float* grad = gradient.data<float>().data();
  float* m = first_moment.data<float>().data();
  float* v = second_moment.data<float>().data();
  float* w = parameter.data<float>().data();
  const auto step = static_cast<double>(params.step);
  const double correction1 = 1.0 - std::pow(static_cast<double>(params.beta1), step);
  const double correction2 = 1.0 - std::pow(static_cast<double>(params.beta2), step);
  const auto rate = static_cast<float>(static_cast<double>(params.learning_rate) / correction1);
  const auto inverse_root = static_cast<float>(1.0 / std::sqrt(correction2));
  parallel_ranges(parameter.numel(), elementwise_grain, [=](std::int64_t begin, std::int64_t end, int) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = grad[i] + params.weight_decay * w[i];
      m[i] = params.beta1 * m[i] + (1.0F - params.beta1) * g;
      v[i] = params.beta2 * v[i] + (1.0F - params.beta2) * g * g;
      w[i] -= rate * m[i] / (std::sqrt(v[i]) * inverse_root + params.epsilon);
    }
  });
}

}  // namespace generous

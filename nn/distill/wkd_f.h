// Lv et al., "Wasserstein distance rivals Kullback-Leibler divergence for knowledge distillation", 2024:
// WKD-F.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct WkdFOptions {
  float ratio = 4.0F;     ///< weight of the means
  float eps = 1e-5F;      ///< added to variances
  std::int64_t grid = 1;  ///< cells along an axis, which divides H and W
};

/// ratio * M + V over the cells of images {N, H, W, C}, the squared Wasserstein distance of normal
/// distributions with diagonal covariance: M the sum of the squared differences of the cells' means, divided
/// by N grid^2, V that of their (unbiased) deviations.
Tensor wkd_f_loss(const Tensor& student, const Tensor& teacher, const WkdFOptions& options);

/// CE + weight * wkd_f_loss of the last stage, the student's by a ConvRegressor (connectors.h). The weight
/// falls on half a cosine between two epochs, to 0.
std::unique_ptr<Method> make_wkd_f();

}  // namespace generous

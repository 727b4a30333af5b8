// Li et al., "Curriculum temperature for knowledge distillation", AAAI 2023: KD against a temperature that
// learns to make it harder.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct CtkdOptions {
  double weight = 0.9;
  double ce_weight = 0.1;
  double first = 1.0;    ///< the smallest temperature
  double range = 20.0;   ///< of the temperatures above it
  double lambda = -1.0;  ///< the temperature's gradient is multiplied by it: below 0, the loss grows
  bool logit_stand = false;
};

/// ce_weight CE + weight T^2 KL(H(z_t / T) || H(z_s / T)), mean over the batch, at the temperature T = first
/// + range sigmoid(theta), theta {}. Logits {B, C}; the teacher's carry no gradient. Terms:
/// CE, T^2 KL, T.
Loss ctkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const Tensor& theta, const CtkdOptions& options);

/// -(1 - cos(pi min(epoch + 1, epochs) / epochs)) / 2: from 0 to -1 in so many epochs; -1 throughout for 0.
double ctkd_lambda(std::int64_t epoch, std::int64_t epochs);

std::unique_ptr<Method> make_ctkd();

}  // namespace generous

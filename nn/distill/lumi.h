// Hossain et al., "LumiNet: perception-driven knowledge distillation via statistical logit calibration",
// 2023.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct LumiOptions {
  double temperature = 4.0;
  double alpha = 34.0;  ///< the weight is its square
  double ce_weight = 2.0;
  double warmup = 1.0;  ///< a factor of that weight
  bool logit_stand = false;
};

/// ce_weight CE + warmup alpha^2 KL(H(h_t / T) || H(h_s / T)), mean over the batch; h: each network's logits
/// standardised class by class over the batch, (z - mean) / sqrt(variance + 1e-5), biased. There is no T^2,
/// as published. Logits {B, C}; the teacher's carry no gradient. Terms: CE and KL. A batch of
/// 1 teaches nothing.
Loss lumi_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const LumiOptions& options);

std::unique_ptr<Method> make_lumi();

}  // namespace generous

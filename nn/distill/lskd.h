// Sun et al., "Logit standardization in knowledge distillation", CVPR 2024: their own weights and temperature
// for KD. In front of every other method, standardisation is the setting logit_stand.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct LskdOptions {
  double temperature = 2.0;
  double weight = 9.0;
  double ce_weight = 0.1;
};

/// ce_weight CE + weight T^2 KL(H(n(z_t) / T) || H(n(z_s) / T)), mean over the batch, n(z) = (z - mean) /
/// (1e-7 + sigma) of each row. Logits {B, C}; the teacher's carry no gradient. Terms: CE and
/// T^2 KL. Rows in which either network's logits are all the same add nothing to the latter.
Loss lskd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const LskdOptions& options);

std::unique_ptr<Method> make_lskd();

}  // namespace generous

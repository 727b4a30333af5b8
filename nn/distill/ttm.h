// Zheng, Yang, "Knowledge distillation based on transformed teacher matching", ICLR 2024: the temperature is
// the teacher's alone, as a power of its probabilities.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct TtmOptions {
  double gamma = 0.1;  ///< the power: 1 / temperature
  double weight = 45.0;
  bool weighted = false;  ///< WTTM
  bool logit_stand = false;
};

/// CE + weight mean_b U KL(q || H(z_s)), q = p^gamma / sum p^gamma, p = H(z_t); U = 1 (TTM), or sum p^gamma
/// of each row (WTTM). Logits {B, C}; the teacher's carry no gradient. Terms: CE and the
/// mean.
Loss ttm_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
              const TtmOptions& options);

std::unique_ptr<Method> make_ttm();
std::unique_ptr<Method> make_wttm();

}  // namespace generous

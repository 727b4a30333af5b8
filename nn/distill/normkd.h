// Chi et al., "NormKD: normalized logits for knowledge distillation", 2023, alone and with DKD's parts: each
// network's temperature is T = Tn sigma(z), image by image, and the gradient flows through the student's.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct NormKdOptions {
  double tn = 2.0;  ///< temperature in units of the logits' standard deviation
  double alpha = 0.9;
  bool logit_stand = false;
};

/// (1 - alpha) CE + alpha mean T_t^2 KL(H(z_t / T_t) || H(z_s / T_s)). Logits {B, C}; the
/// teacher's carry no gradient. Terms: CE and the mean. Rows in which either network's logits are all the
/// same add nothing.
Loss normkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                 const NormKdOptions& options);

struct NormKdDkdOptions {
  double tn = 2.0;
  double alpha = 4.0;   ///< weight of the target class's knowledge
  double beta = 5.0;    ///< weight of the other classes'
  double warmup = 1.0;  ///< a factor of both
  bool logit_stand = false;
};

/// CE + warmup (alpha TCKD + beta NCKD), both means over the batch, weighted by T_t^2 of each row. Terms: CE,
/// TCKD, NCKD.
Loss normkd_dkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                     const NormKdDkdOptions& options);

std::unique_ptr<Method> make_normkd();
std::unique_ptr<Method> make_normkd_dkd();

}  // namespace generous

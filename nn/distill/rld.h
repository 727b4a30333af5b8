// Sun et al., "Knowledge distillation with refined logits", 2024: what the teacher is wrong about is left
// out.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct RldOptions {
  double temperature = 4.0;
  double sample_temperature = 1.0;  ///< of the confidences
  double alpha = 1.0;               ///< weight of the confidences
  double beta = 8.0;                ///< weight of the other classes
  double warmup = 1.0;              ///< a factor of both
  bool logit_stand = false;
};

/// CE + warmup (alpha SCD + beta MCD), means over the batch.
/// SCD = T_c^2 KL of two-way distributions of H(z / T_c): the teacher's (its own largest, rest), the
/// student's (label, rest). MCD = T^2 KL of H(z / T) over the classes whose teacher logit is below the
/// teacher's logit of the label. Logits {B, C}; the teacher's carry no gradient. Terms: CE,
/// SCD, MCD.
Loss rld_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
              const RldOptions& options);

std::unique_ptr<Method> make_rld();

}  // namespace generous

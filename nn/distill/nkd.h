// Yang et al., "From knowledge distillation to self-knowledge distillation: a unified approach with
// normalized loss and customized soft labels", ICCV 2023.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct NkdOptions {
  double gamma = 1.5;  ///< weight of the other classes' term
  double temperature = 1.0;
  bool logit_stand = false;
};

/// CE - mean p_t[y] log p_s[y] - gamma T^2 mean sum_{c != y} n_t log n_s, with p at temperature 1 and n the
/// softmax of z / T over the classes other than the label. Logits {B, C}; the teacher's carry
/// no gradient. Terms: CE, the label's term, the others' with its T^2.
Loss nkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
              const NkdOptions& options);

std::unique_ptr<Method> make_nkd();

}  // namespace generous

// What distillation methods share.
#pragma once

#include "core/ops.h"

namespace generous {

/// Throws Error unless both are of the same shape.
void check_logits(std::string_view loss, const Tensor& student, const Tensor& teacher);

/// KL(p || q) of each row {B, 1}, from log-probabilities: sum_c p (log p - log q).
Tensor kl_divergence_rows(const Tensor& log_p, const Tensor& log_q);

}  // namespace generous

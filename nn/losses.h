// What distillation methods share.
#pragma once

#include "core/ops.h"

namespace generous {

/// Throws Error unless both are of the same shape.
void check_logits(std::string_view loss, const Tensor& student, const Tensor& teacher);

/// {}: cross-entropy with (1 - eps) onehot(label) + eps / C, mean over the batch: Szegedy et al., "Rethinking
/// the Inception architecture", 2016. Logits {B, C}, labels i64 {B}.
Tensor smoothed_cross_entropy(const Tensor& logits, const Tensor& labels, float eps);

/// KL(p || q) of each row {B, 1}, from log-probabilities: sum_c p (log p - log q).
Tensor kl_divergence_rows(const Tensor& log_p, const Tensor& log_q);

}  // namespace generous

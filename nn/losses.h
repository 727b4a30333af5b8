// What distillation methods share.
#pragma once

#include "core/ops.h"

namespace generous {

/// What the labels say of a batch of B images.
struct Labels {
  Labels() = default;
  /// One class for each image, i64 {B}.
  Labels(Tensor of_images) : classes(std::move(of_images)) {}

  Tensor classes;          ///< i64 {B}
  float smoothing = 0.0F;  ///< this much of each label's weight is spread over all classes
  Tensor mixed_in = {};    ///< i64 {B}: the classes of the images mixed into these; undefined without any
  Tensor share = {};       ///< {}: of `classes` in the mixture; `mixed_in` have the rest
};

/// {}: the cross-entropy of logits {B, C} with what the labels say, mean over the batch: of mixed images
/// share CE(classes) + (1 - share) CE(mixed_in) (Zhang et al., "mixup", 2018), where each CE is smoothed. The
/// one place from which every method has what it calls the task.
Tensor task_loss(const Tensor& logits, const Labels& labels);

/// Throws Error unless both are of the same shape.
void check_logits(std::string_view loss, const Tensor& student, const Tensor& teacher);

/// {}: cross-entropy with (1 - eps) onehot(label) + eps / C, mean over the batch: Szegedy et al., "Rethinking
/// the Inception architecture", 2016. Logits {B, C}, labels i64 {B}.
Tensor smoothed_cross_entropy(const Tensor& logits, const Tensor& labels, float eps);

/// KL(p || q) of each row {B, 1}, from log-probabilities: sum_c p (log p - log q).
Tensor kl_divergence_rows(const Tensor& log_p, const Tensor& log_q);

}  // namespace generous

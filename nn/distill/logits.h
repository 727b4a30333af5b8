// What the methods that compare logits share. Logits {B, C}; targets are the labels as one-hot rows {B, C}.
#pragma once

#include "nn/distill/method.h"

namespace generous {

/// Both networks' logits as a method compares them; the teacher's carry no gradient.
struct LogitPair {
  Tensor student;
  Tensor teacher;
  Tensor kept =
      {};  ///< {B, 1}: 0 for the rows that were replaced, otherwise 1; undefined where none could be
  Tensor flat_rows = {};  ///< {}: how many these are (Loss::flat_rows); undefined likewise
};

/// In both networks, the one-hot row in place of those whose `kept` {B, 1} is 0, not 1: it has no gradient,
/// and they agree in it.
LogitPair replace_rows(const Tensor& student, const Tensor& teacher, const Tensor& kept,
                       const Tensor& target);

/// Without the rows in which either network's logits are all the same (sigma = 0): they have no deviation to
/// divide by.
LogitPair with_spread(const Tensor& student, const Tensor& teacher, const Tensor& target);

/// (z - mean) / (1e-7 + sigma) of each row: Sun et al., "Logit standardization in knowledge distillation",
/// 2024. The gradient flows through both.
Tensor standardised(const Tensor& z);

/// Both standardised, without their rows that have no spread.
LogitPair standardised_pair(const Tensor& student, const Tensor& teacher, const Tensor& target);

/// What a loss compares: the logits, standardised if asked for. Throws Error that names the loss unless they
/// are of the same shape.
LogitPair compared_logits(std::string_view loss, const Tensor& student, const Tensor& teacher,
                          const Tensor& labels, bool standardise);

/// Declares the switch in front of every method that compares logits.
void declare_logit_stand(Options& options, bool& logit_stand);

/// Declares the switch of a method whose published code does otherwise than its paper.
void declare_published(Options& options, bool& published);

/// {B, 1}: KL(H(z_t / T) || H(z_s / T)) of each row.
Tensor kl_rows_at(const LogitPair& z, float temperature);
/// {}: T^2 KL(H(z_t / T) || H(z_s / T)), mean over the batch.
Tensor distillation_kl(const LogitPair& z, float temperature);

/// log H over all classes but the target's, which gets -1e30.
Tensor log_softmax_of_others(const Tensor& z, const Tensor& target);

/// The two-way distribution of each row: the target class and all others together.
struct TargetSplit {
  Tensor target;  ///< {B, 1}: log p_y
  Tensor others;  ///< {B, 1}: log of the sum of the other probabilities
};
/// Of log-probabilities {B, C}.
TargetSplit split_target(const Tensor& log_p, const Tensor& target);
/// {B, 1}: KL(p || q) of the two-way distributions.
Tensor kl_divergence_rows(const TargetSplit& log_p, const TargetSplit& log_q);

/// {}: -mean_b p_t[y] log p_s[y] at temperature 1: a cross-entropy weighted by the teacher's confidence in
/// the label (NKD and WKD have it).
Tensor weighted_target_loss(const LogitPair& z, const Tensor& target);

}  // namespace generous

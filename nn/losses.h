// The losses of the three stages. Logits {B, C}, labels {B} of i64, results {}. Teacher logits carry no
// gradient.
#pragma once

#include "core/ops.h"

namespace generous {

/// KL(p || q) of each row {B, 1}, from log-probabilities: sum_c p (log p - log q).
Tensor kl_divergence_rows(const Tensor& log_p, const Tensor& log_q);

struct KdOptions {
  float temperature = 4.0F;
  float alpha = 0.9F;
};

/// Hinton, Vinyals, Dean 2015: (1 - alpha) CE + alpha T^2 KL(H(z_t / T) || H(z_s / T)), mean over the batch.
/// The two terms are returned unweighted beside their sum.
struct KdLoss {
  Tensor total;
  Tensor cross_entropy;
  Tensor kd;  ///< T^2 KL
};
KdLoss kd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
               const KdOptions& options);

struct GenerousOptions {
  float tn = 1.0F;  ///< temperature in units of the logits' standard deviation
  float alpha = 1.0F;
  float warmup = 1.0F;  ///< the factor min(epoch / warm-up epochs, 1), see warmup_factor
};

/// Non-target class knowledge, Ding et al. 2024: mean over the batch of
/// T_t^2 KL(H(z_t / T_t - mask onehot(y)) || H(z_s / T_s - mask onehot(y))), T = Tn * sigma(z) of each row of
/// each network; the gradient flows through T_s. The paper's mask is 1000, which a small Tn outgrows; this
/// one is beyond every logit. A row in which either network's logits are all the same (sigma = 0: no
/// temperature) adds nothing to the mean and gets no gradient.
struct NckdLoss {
  Tensor nckd;
  Tensor flat_rows;  ///< {}: how many rows were such, without gradient
};
NckdLoss nckd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                   float tn);

/// CE + alpha * warmup * NCKD.
struct GenerousLoss {
  Tensor total;
  Tensor cross_entropy;
  Tensor nckd;
  Tensor flat_rows;  ///< as in NckdLoss
};
GenerousLoss generous_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                           const GenerousOptions& options);

/// min(epoch / warmup_epochs, 1), epochs from 0; 1 throughout when warmup_epochs is 0.
float warmup_factor(std::int64_t epoch, std::int64_t warmup_epochs);

}  // namespace generous

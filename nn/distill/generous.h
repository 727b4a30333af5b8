// The generous teacher: Ding et al., "Generous teacher: Good at distilling knowledge for student learning",
// Image and Vision Computing 2024. Logits {B, C}, labels i64 {B}; the teacher's logits carry no gradient.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct GenerousOptions {
  float tn = 1.0F;  ///< temperature in units of the logits' standard deviation
  float alpha = 1.0F;
  float warmup = 1.0F;  ///< the factor min(epoch / warm-up epochs, 1), see warmup_factor
};

/// Non-target class knowledge: mean over the batch of
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

/// CE + alpha * warmup * NCKD. Terms: CE and NCKD.
Loss generous_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                   const GenerousOptions& options);

/// Its settings have the paper's names: Tn, alpha, warmup.
std::unique_ptr<Method> make_generous();

}  // namespace generous

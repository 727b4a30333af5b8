// The generous teacher: Ding et al., "Generous teacher: Good at distilling knowledge for student learning",
// Image and Vision Computing 2024. Logits {B, C}, labels i64 {B}; the teacher's logits carry no gradient.
#pragma once

#include <cstdint>
#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// What the generous teacher absorbs: the paper's non-target knowledge, or what its ablations put there.
enum class Knowledge : std::uint8_t {
  nckd,  ///< KL over all classes but the label's
  kl,    ///< KL over all classes
  dkd    ///< TCKD + beta NCKD
};

struct GenerousOptions {
  float tn = 1.0F;           ///< temperature in units of the logits' standard deviation
  float temperature = 0.0F;  ///< if not 0, that of both networks, in place of tn
  Knowledge knowledge = Knowledge::nckd;
  float beta = 8.0F;  ///< of Knowledge::dkd
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

/// CE + alpha * warmup * what is absorbed, each row of that times T_t^2. Terms: CE and what is absorbed.
Loss generous_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                   const GenerousOptions& options);

/// Its settings have the paper's names: Tn, alpha, warmup. Those of the ablations in its repository's
/// history: knowledge nckd with temperature_mode fixed (T 2); kl, without warm-up; dkd.
std::unique_ptr<Method> make_generous();

}  // namespace generous

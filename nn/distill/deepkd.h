// Huang et al., "DeepKD: a deeply decoupled and denoised knowledge distillation trainer", 2025: the loss. Its
// optimiser, which keeps the three parts of it apart, is make_deepkd.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct DeepKdLossOptions {
  double temperature = 4.0;
  double ce_weight = 0.5;
  bool dkd = false;       ///< alpha and beta of DKD; otherwise KD's own weight of the other classes
  double alpha = 1.0;     ///< dkd: weight of the target class's knowledge
  double beta = 8.0;      ///< dkd: weight of the other classes'
  double warmup = 1.0;    ///< dkd: a factor of both
  std::int64_t topk = 0;  ///< of the other classes only those among the teacher's so many largest; 0: all
  bool logit_stand = false;
  bool published = true;  ///< not dkd: as the published code has it; otherwise as KD
};

/// ce_weight CE + TCKD' + NCKD', the last two being DKD's: both times warmup, alpha and beta where `dkd`;
/// otherwise NCKD times the batch's mean of 1 - p_t[y], which is the published code's; where `published` is
/// false, each image's NCKD times its own 1 - p_t[y], so that TCKD' + NCKD' are KD. Logits {B, C}; the
/// teacher's carry no gradient. Terms: CE, TCKD', NCKD'.
Loss deepkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                 const DeepKdLossOptions& options);

std::unique_ptr<Method> make_deepkd_method();

}  // namespace generous

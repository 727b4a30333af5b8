// Zhao et al., "Decoupled knowledge distillation", CVPR 2022.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct DkdOptions {
  double temperature = 4.0;
  double alpha = 1.0;   ///< weight of the target class's knowledge
  double beta = 8.0;    ///< weight of the other classes'
  double warmup = 1.0;  ///< a factor of both
  bool logit_stand = false;
};

/// Both parts of KL(H(z_t) || H(z_s)) for each row {B, 1}. target: of the two-way distributions (label,
/// rest); others: of the distributions over all classes but the label.
struct DkdRows {
  Tensor target;
  Tensor others;
};
/// Logits {B, C}, already divided by their temperatures; target one-hot {B, C}.
DkdRows dkd_rows(const Tensor& student, const Tensor& teacher, const Tensor& target);

/// CE + warmup T^2 (alpha TCKD + beta NCKD), means over the batch. Logits {B, C}; the
/// teacher's carry no gradient. Terms: CE, T^2 TCKD, T^2 NCKD.
Loss dkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
              const DkdOptions& options);

/// Declares the weights of both parts, and over how many epochs they grow to these values.
void declare_dkd_weights(Options& options, double& alpha, double& beta, std::int64_t& warmup_epochs);

std::unique_ptr<Method> make_dkd();

}  // namespace generous

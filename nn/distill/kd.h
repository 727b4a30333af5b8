// Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct KdOptions {
  double temperature = 4.0;
  double alpha = 0.9;
  bool logit_stand = false;
};

/// (1 - alpha) CE + alpha T^2 KL(H(z_t / T) || H(z_s / T)), mean over the batch. Logits {B, C}; the teacher's
/// carry no gradient. Terms: CE and T^2 KL.
Loss kd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
             const KdOptions& options);

std::unique_ptr<Method> make_kd();

}  // namespace generous

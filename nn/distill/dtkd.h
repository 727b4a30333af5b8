// Wei, Bai, "Dynamic temperature knowledge distillation", 2024: the network with the sharper logits gets the
// higher temperature.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct DtkdOptions {
  double temperature = 4.0;
  double alpha = 3.0;   ///< weight of the term with dynamic temperatures
  double beta = 1.0;    ///< weight of KD
  double warmup = 1.0;  ///< a factor of both
  bool logit_stand = false;
};

/// CE + warmup (alpha mean_b T_s T_t KL(H(z_t / T_t) || H(z_s / T_s)) + beta T^2 KL at T), T_s = 2 m_s T /
/// (m_s + m_t), T_t = 2 m_t T / (m_s + m_t), m the largest logit of each row; the gradient flows through
/// both. Logits {B, C}; the teacher's carry no gradient. Terms: CE and both. Rows in which a
/// network has no logit above 0 have no such temperatures and add nothing to the first; Loss::flat_rows
/// counts them.
Loss dtkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const DtkdOptions& options);

std::unique_ptr<Method> make_dtkd();

}  // namespace generous

// Jin, Wang, Lin, "Multi-level logit distillation", CVPR 2023.
#pragma once

#include <memory>

#include "nn/distill/two_views.h"

namespace generous {

struct MlkdOptions {
  double temperature = 4.0;  ///< the first of five; the others are 3, 5, 2, 6
  double weight = 0.9;
  double ce_weight = 0.1;
  bool logit_stand = false;  ///< of KD alone, as published
  bool published = true;     ///< as the published code has it; otherwise as the paper
};

/// ce_weight (CE_w + CE_s) + weight (KD + class correlation + batch correlation) with
/// KD = m_b sum_T K_w(T) + K_s(T) + K_s(3) + K_s(5) + K_w(2) + K_w(6), K = T^2 KL, mean over the batch,
/// class correlation = m_c sum_T ||P_t' P_t - P_s' P_s||^2 / C, P = H(z_w / T) {B, C},
/// batch correlation = m_b sum_T ||P_t P_t' - P_s P_s'||^2 / B,
/// m_b (m_c): the fraction of the samples (classes) of which the weak view's teacher is no more certain than
/// of the median one. Published code differs from its paper, which `published` = false follows: there the
/// strong view has all five K, and m_b and m_c choose these samples (rows of the differences, of the mean and
/// of P P') and classes (rows of P' P). The teacher's logits carry no gradient. Terms: CE_w + CE_s and the
/// three.
Loss mlkd_loss(const TwoViews& logits, const Labels& labels, const MlkdOptions& options);

/// {N, 1}: 1 for the elements of x {N, 1} that are at most their median (of an even number, the mean of the
/// middle two), otherwise 0. No gradient.
Tensor up_to_median(const Tensor& x);

std::unique_ptr<Method> make_mlkd();

}  // namespace generous

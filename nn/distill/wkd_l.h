// Lv, Yang, Li, "Wasserstein distance rivals Kullback-Leibler divergence for knowledge distillation", NeurIPS
// 2024: on logits, moving probability between classes costs the more the less they resemble each other.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct WkdLOptions {
  double temperature = 8.0;
  double weight = 600.0;
  double regularisation = 0.05;  ///< of the transport by its entropy
  std::int64_t iterations = 10;  ///< of Sinkhorn's algorithm, through all of which the gradient flows
  bool logit_stand = false;
};

/// {C, C}: 1 - the cosine similarity of the rows of a classifier's weight {C, D}; with sharpen s > 0, d
/// becomes 1 - exp(-s d). No gradient.
Tensor class_distances(const Tensor& weight, double sharpen);

/// CE - mean_b p_t[y] log p_s[y] + weight mean_b W, with p at temperature 1 and W the transport of the
/// student's softmax of z / T over the classes other than the label to the teacher's, at the cost of
/// `distances` {C, C}. Logits {B, C}; the teacher's carry no gradient. Terms: CE, the label's
/// term, the mean of W.
Loss wkd_l_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                const Tensor& distances, const WkdLOptions& options);

std::unique_ptr<Method> make_wkd_l();

}  // namespace generous

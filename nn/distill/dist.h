// Huang et al., "Knowledge distillation from a stronger teacher", NeurIPS 2022.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct DistOptions {
  double temperature = 4.0;
  double beta = 2.0;   ///< weight of the relation between the classes of an image
  double gamma = 2.0;  ///< weight of the relation between the images of a class
  bool logit_stand = false;
};

/// CE + T^2 [beta (1 - mean_b r(rows)) + gamma (1 - mean_c r(columns))], r Pearson's correlation of both
/// networks' H(z / T). Logits {B, C}; the teacher's carry no gradient. Terms: CE and both
/// distances with their T^2. What has no spread has the correlation 0.
Loss dist_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const DistOptions& options);

std::unique_ptr<Method> make_dist();

}  // namespace generous

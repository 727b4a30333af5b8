// Chen et al., "Knowledge distillation with the reused teacher classifier", 2022.
#pragma once

#include <memory>

#include "nn/distill/feature_method.h"

namespace generous {

/// {}: mean (S - f_t)^2 of the student's projected last stage and the teacher's; where S is the smaller one,
/// f_t is averaged down to its size.
Tensor simkd_loss(const FeaturePair& last);

/// weight * simkd_loss. The student becomes a ReusedClassifier, and its head trains with it; there is no
/// cross-entropy, and the student's own classifier is not trained.
std::unique_ptr<Method> make_simkd();

}  // namespace generous

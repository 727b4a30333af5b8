// Chen et al., "Knowledge distillation with the reused teacher classifier", 2022.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// The student's images {N, H, W, in} -> {N, H, W, out}, the teacher's channels: 1x1 to out / factor, 3x3,
/// 1x1 to out, each with batch norm and ReLU.
class Projector : public Sequential {
 public:
  Projector(std::int64_t in, std::int64_t out, std::int64_t factor);
};

/// weight * mean (S - f_t)^2 of the last stage, in the smaller size of the two: S the student's by the
/// projector `transfer`. No cross-entropy: the student's own classifier is not trained.
std::unique_ptr<Method> make_simkd();

}  // namespace generous

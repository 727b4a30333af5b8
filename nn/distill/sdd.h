// Wei, Luo, Luo, "Scaled decoupled distillation", CVPR 2024: DKD on every patch of the last feature map, at
// several scales.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

struct SddOptions {
  double temperature = 4.0;
  double alpha = 1.0;   ///< weight of the target class's knowledge
  double beta = 8.0;    ///< weight of the other classes'
  double warmup = 1.0;  ///< a factor of both
  bool logit_stand = false;
};

/// What a classifier says of the cells of a feature map x {B, H, W, D}, cut into m x m cells for each scale
/// m, row by row: {B, N, C}, N = sum m^2 (adaptive_avg_pool2d).
Tensor patch_logits(const Tensor& x, const Classifier& classifier, const std::vector<std::int64_t>& scales);

/// CE(student_logits) + warmup mean over samples b and patches n of w T^2 (alpha TCKD + beta NCKD) (DKD). w
/// is 2 where the teacher is right about the patch but wrong about patch 0, the whole, or the reverse,
/// otherwise 1. Logits {B, C}, patches {B, N, C}; the teacher's carry no gradient. Terms: CE
/// and the weighted means of T^2 TCKD, T^2 NCKD.
struct SddLogits {
  Tensor student;
  Tensor student_patches;
  Tensor teacher_patches;
};
Loss sdd_dkd_loss(const SddLogits& logits, const Labels& labels, const SddOptions& options);

std::unique_ptr<Method> make_sdd_dkd();

}  // namespace generous

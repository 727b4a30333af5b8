// The logits of a method that sees two views of each image.
#pragma once

#include "nn/distill/method.h"

namespace generous {

/// What both networks say of the views of a batch: the usual one, and one with strong augmentation. Logits
/// {B, C}.
struct TwoViews {
  Tensor student_weak;
  Tensor student_strong;
  Tensor teacher_weak;
  Tensor teacher_strong;
};
/// Of a step of a method that needs two views.
inline TwoViews two_views(const DistillBatch& batch) {
  return {.student_weak = batch.student[0].logits,
          .student_strong = batch.student[1].logits,
          .teacher_weak = batch.teacher[0].logits,
          .teacher_strong = batch.teacher[1].logits};
}

}  // namespace generous

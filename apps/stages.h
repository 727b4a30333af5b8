// The three training stages.
#pragma once

#include <array>

#include "apps/training/stage.h"

namespace generous {

/// TrainingStage 1: a standard teacher, or a student alone, by cross-entropy. TrainingStage 2: a generous
/// teacher, with the non-target knowledge of a standard one; its keys are the paper's. TrainingStage 3: a
/// student of either teacher.
inline const std::array stages = {
    TrainingStage{.program = "train_standard", .method = "none"},
    TrainingStage{.program = "train_generous",
                  .method = "generous",
                  .teacher_model = "adversarial_model",
                  .teacher_weights = "adversarial_resume",
                  .teacher_model_alias = "teacher_model",
                  .teacher_weights_alias = "teacher_resume"},
    TrainingStage{
        .program = "train_kd", .teacher_model = "teacher_model", .teacher_weights = "teacher_resume"},
};
inline const TrainingStage& standard_stage = stages[0];
inline const TrainingStage& generous_stage = stages[1];
inline const TrainingStage& student_stage = stages[2];

}  // namespace generous

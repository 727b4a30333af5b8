// What each training stage minimises. A new distillation method is a line in objective.cpp and a loss in nn/.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/training/config.h"
#include "apps/training/teacher.h"
#include "data/loader.h"
#include "nn/models/registry.h"

namespace generous {

/// All of shape {}.
struct Loss {
  Tensor total;               ///< what is minimised
  std::vector<Tensor> terms;  ///< what it is made of, unweighted
  Tensor flat_rows = {};      ///< how many images a term left out (NckdLoss); undefined where none can
};

struct Objective {
  std::vector<std::string> terms;  ///< names, for the columns of metrics.csv
  std::function<Loss(const Tensor& logits, const Batch& batch, std::int64_t epoch)> loss;
  /// What is wrong with the teacher for a batch; empty where there is no teacher.
  std::function<TeacherFault(const Batch& batch)> teacher_fault = {};
  LoadedWeights teacher = {};  ///< its weights; empty where there is no teacher
};

/// Makes a stage's objective. `options` are those of the model being trained, `classes` the dataset's: a
/// teacher sees the same images and tells apart the same classes. Throws Error like load_teacher.
using MakeObjective = std::function<Objective(const Config& config, const ModelOptions& options,
                                              const std::vector<std::string>& classes)>;

/// Stage 1: cross-entropy.
Objective standard_objective(const Config& config, const ModelOptions& options,
                             const std::vector<std::string>& classes);
/// Stage 2: the generous teacher, from a frozen standard teacher.
Objective generous_objective(const Config& config, const ModelOptions& options,
                             const std::vector<std::string>& classes);
/// Stage 3: a student, by config.method from a frozen teacher.
Objective student_objective(const Config& config, const ModelOptions& options,
                            const std::vector<std::string>& classes);

/// The names that `method` takes.
std::vector<std::string> distillation_methods();

}  // namespace generous

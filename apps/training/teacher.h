// Frozen teachers.
#pragma once

#include <memory>
#include <string>

#include "apps/training/model.h"
#include "apps/training/stage.h"
#include "apps/training/weights.h"

namespace generous {

/// What makes a teacher's logits for a batch worthless: "gives nan for class 2 of image 5 of this batch".
struct TeacherFault {
  std::string what;    ///< "" if nothing does
  bool fatal = false;  ///< the loss cannot be finite
};
/// Looks at logits {B, C}: values that are not finite; the same value for all classes in every row.
TeacherFault fault_of_teacher(const Tensor& logits);

struct Teacher {
  std::unique_ptr<Network> model;  ///< frozen unless it is in training mode; null where a stage has none
  LoadedWeights weights;
  std::string name;      ///< of its network
  std::string path;      ///< of its weights, as it was given
  bool measured = true;  ///< its accuracy is to be told before training starts

  /// For a batch {B, H, W, C} in the dtype to compute in; nothing is wrong with a teacher that is not there.
  TeacherFault examine(const Tensor& images) const;
};

/// The teacher that a stage asks for.
struct TeacherSettings {
  ModelSettings model;
  std::string weights;
  bool accuracy = true;

  /// The network is that which the weights hold, where they say so and nothing else is asked for.
  /// `save_path`: of the run that asks, for finding them.
  void declare(Options& options, const TrainingStage& stage, const std::string& save_path = {});
  /// `options` are those of the student, `student` what its weights will say of themselves: a teacher sees
  /// the same images, normalised in the same way, and tells apart the same classes. It is frozen unless it
  /// `trains`: in training mode its batch norms use the batch's statistics. Throws Error for an unknown
  /// model, and like find_weights and load_weights.
  Teacher load(const WeightFinder& finder, const TrainingStage& stage, const ModelOptions& options,
               const WeightsOrigin& student, bool trains) const;
};

}  // namespace generous

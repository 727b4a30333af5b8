// Frozen teachers, and where a configuration's checkpoint paths lead.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "apps/training/weights.h"
#include "nn/models/registry.h"

namespace generous {

/// The file that a checkpoint path of a configuration means: .tar stands for the .safetensors beside it; a
/// relative path is looked up from the current folder, then from the folder that contains the `experiments/`
/// in `save_path`. Throws Error that names the key, every place tried and, for a run's checkpoint, the
/// program that makes it.
std::filesystem::path find_checkpoint(const std::string& key, const std::string& path,
                                      const std::string& save_path);

/// Which teacher a configuration asks for.
struct TeacherChoice {
  std::string model_name;
  std::string key;        ///< that names its weights
  std::string path;       ///< of them, for find_checkpoint
  std::string save_path;  ///< of the run
};

struct Teacher {
  std::shared_ptr<Module> model;  ///< frozen
  LoadedWeights weights;
};

/// Throws Error for an unknown model, and like find_checkpoint and load_weights.
Teacher load_teacher(const TeacherChoice& choice, ModelOptions options,
                     const std::vector<std::string>& classes);

/// What makes a teacher's logits for a batch worthless: "gives nan for class 2 of image 5 of this batch".
struct TeacherFault {
  std::string what;    ///< "" if nothing does
  bool fatal = false;  ///< the loss cannot be finite
};
/// Looks at logits {B, C}: values that are not finite; the same value for all classes in every row.
TeacherFault fault_of_teacher(const Tensor& logits);

}  // namespace generous

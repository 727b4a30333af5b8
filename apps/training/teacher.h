// Frozen teachers, and where a configuration's checkpoint paths lead.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "nn/models/registry.h"

namespace generous {

/// The file that a checkpoint path of a configuration means: .tar stands for the .safetensors beside it; a
/// relative path is looked up from the current folder, then from the folder that contains the `experiments/`
/// in `save_path`. Throws Error that names the key, every place tried and, for a run's checkpoint, the
/// program that makes it.
std::filesystem::path find_checkpoint(const std::string& key, const std::string& path,
                                      const std::string& save_path);

/// A frozen model with the weights that `path` leads to. Throws Error for an unknown model, a
/// missing file, another model's weights or weights that are not finite.
std::shared_ptr<Module> load_teacher(const std::string& model_name, const std::string& key,
                                     const std::string& path, const std::string& save_path,
                                     ModelOptions options);

/// What makes a teacher's logits for a batch worthless: "gives nan for class 2 of image 5 of this batch".
struct TeacherFault {
  std::string what;    ///< "" if nothing does
  bool fatal = false;  ///< the loss cannot be finite
};
/// Looks at logits {B, C}: values that are not finite; the same value for all classes in every row.
TeacherFault fault_of_teacher(const Tensor& logits);

}  // namespace generous

// One training step, or one forward pass, exactly as the programs do it, on random images.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/dtype.h"
#include "nn/models/registry.h"
#include "nn/optim.h"

namespace generous {

struct WorkloadOptions {
  std::string model;
  std::string stage;  ///< standard, generous, kd or infer
  DType dtype = DType::f32;
  std::int64_t batch = 128;
};

/// The names that `stage` takes.
std::vector<std::string> stage_names();

class Workload {
 public:
  /// Ten classes, 32x32x3; the teacher is a frozen network of the same kind, as the yardstick has it.
  /// Throws Error for an unknown model.
  explicit Workload(const WorkloadOptions& options);

  /// A step with SGD (momentum 0.9, weight decay 5e-4) up to the loss being read back, or for `infer` the
  /// frozen network's forward pass.
  void step();

 private:
  WorkloadOptions options_;
  std::unique_ptr<Module> model_;
  std::unique_ptr<Module> teacher_;  ///< null in stages without one
  std::unique_ptr<Optimizer> optimizer_;
  Tensor images_;
  Tensor labels_;
};

}  // namespace generous

// The trainer's own step, or one forward pass, on random images.
#pragma once

#include <memory>
#include <string>

#include "apps/training/train_step.h"
#include "nn/models/registry.h"
#include "nn/optim.h"

namespace generous {

struct WorkloadOptions {
  std::string model;
  std::string stage;  ///< standard, a method's name, or infer
  DType dtype = DType::f32;
  std::string teacher = {};  ///< its network; empty: the same
  std::int64_t classes = 10;
  std::int64_t batch = 128;
  Device device = Device::cpu;
  bool record = true;      ///< on a GPU: record the step and replay it
  Group* group = nullptr;  ///< the processes that take a slice of the batch each; null: there are none
  bool in_order = false;   ///< Group::start_sum
};

/// The names that `stage` takes.
std::vector<std::string> stage_names();

class Workload {
 public:
  /// Images of 32x32x3, the first of at least 50000 to train on; the teacher is frozen unless the method
  /// trains it. Throws Error for an unknown model, and for networks that the method cannot join.
  explicit Workload(const WorkloadOptions& options);

  /// A step with SGD (momentum 0.9, weight decay 5e-4) up to the loss being read back, or for `infer` the
  /// frozen network's forward pass to its end. On a GPU recorded from the third step on.
  void step();
  /// The same, never recorded.
  void compute();
  /// The next step is the first one: recorded work is forgotten.
  void begin_anew() { step_ = make_step(options_.record); }
  Device device() const { return options_.device; }
  /// Values that a step has gradients of.
  std::int64_t gradients() const;

 private:
  std::unique_ptr<TrainStep> make_step(bool record);
  void run(TrainStep* step);

  WorkloadOptions options_;
  std::unique_ptr<Network> model_;
  std::unique_ptr<Network> teacher_;  ///< null in stages without one
  std::unique_ptr<Method> method_;    ///< null for `infer`, as what follows
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<TrainStep> step_;
  std::unique_ptr<TrainStep> unrecorded_;
  Batch batch_;
  std::int64_t steps_ = 0;
};

}  // namespace generous

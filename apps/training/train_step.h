// One step of training: forward, loss, backward, optimiser. On a GPU it is recorded once an epoch and then
// replayed without the host; its metrics stay there until they are read.
#pragma once

#include <memory>
#include <vector>

#include "apps/training/objective.h"
#include "core/backend.h"
#include "nn/optim.h"

namespace generous {

struct TrainStepOptions {
  DType dtype = DType::f32;       ///< what the networks compute in
  Device device = Device::cpu;    ///< where model, optimiser and batches are
  bool record = true;             ///< on a GPU: record the step and replay it
  std::int64_t batch_size = 128;  ///< of every batch but an epoch's last
};

/// What a step measured, still on the device.
struct StepMetrics {
  Tensor loss;                ///< {}
  std::vector<Tensor> terms;  ///< {} each
  Tensor correct;             ///< {}: how many images have their label as the largest logit
  Tensor flat_rows;           ///< {}: Loss::flat_rows; undefined likewise
};

class TrainStep {
 public:
  /// Everything must outlive the step.
  TrainStep(Module& model, Optimizer& optimizer, const Objective& objective, const TrainStepOptions& options);

  /// Begins an epoch: the objective may differ from the last one's.
  void start_epoch(std::int64_t epoch);
  /// Step `step` of the run, counted from 0, with the optimiser's learning rate. The result is of this step
  /// even after further ones.
  StepMetrics run(const Batch& batch, std::int64_t step);

 private:
  void compute(const Batch& batch);
  bool runs_recorded(const Batch& batch) const;

  Module& model_;
  Optimizer& optimizer_;
  const Objective& objective_;
  TrainStepOptions options_;
  std::int64_t epoch_ = 0;
  int whole_batches_ = 0;  ///< computed without recording: the first two prepare what a recording needs
  Tensor step_;            ///< {} of i64: for random layers
  Batch inputs_;           ///< what recorded work reads
  StepMetrics metrics_;    ///< what the last step wrote
  std::unique_ptr<RecordedWork> recorded_;
};

}  // namespace generous

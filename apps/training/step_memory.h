// Whether the memory of a training step fits, asked before the first one.
#pragma once

#include "apps/training/memory.h"
#include "apps/training/train_step.h"

namespace generous {

/// Of a training step on so many images at once: `fixed` and `each` times their number, in bytes.
struct StepMemory {
  double fixed = 0.0;  ///< gradients, and what else does not depend on the batch
  double each = 0.0;

  double bytes(std::int64_t rows) const { return fixed + each * static_cast<double>(rows); }
  /// The most images that fit into so many bytes; 0 if none do.
  std::int64_t rows_in(std::int64_t bytes) const;
};
/// Measured by forward and backward passes of up to `sample` black images {H, W, C}, at least 4, after which
/// student and teacher are as they were, but for gradients. What the method computes of their outputs is left
/// out, and so are buffers of the libraries.
StepMemory step_memory(const Distillation& distillation, const Shape& image, const TrainStepOptions& options,
                       std::int64_t sample);

/// How a run takes its batches.
struct BatchesInMemory {
  std::int64_t batch_size = 0;
  std::int64_t images = 0;  ///< of an epoch
  std::int64_t slices = 1;  ///< of each batch, taken one after the other in each process
  std::int64_t processes = 1;
  bool may_slice = false;  ///< more slices would be possible
};
/// Throws Error for batches whose steps cannot fit into the memory that is left on this machine; with the
/// largest that would. Measures only where that could be; asks nothing of batches of a few images.
void check_memory(const Distillation& distillation, const Shape& image, const TrainStepOptions& options,
                  const BatchesInMemory& batches, const MemoryLeft& left);

}  // namespace generous

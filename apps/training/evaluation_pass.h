// One batch of an evaluation: logits, and what is measured of them. On a GPU it is recorded once and then
// replayed without the host.
#pragma once

#include <cstdint>
#include <memory>

#include "core/backend.h"
#include "data/loader.h"
#include "nn/module.h"

namespace generous {

class EvaluationPass {
 public:
  struct Answer {
    Tensor logits;          ///< {B, C}, on the host
    float loss = 0.0F;      ///< mean cross-entropy
    float correct = 0.0F;   ///< images whose label is the largest logit
    float correct5 = 0.0F;  ///< among the five largest, or among all of fewer classes
  };

  /// Of `model`, which must outlive it and stay in evaluation mode, in `dtype`. `record`: batches of
  /// `batch_size` images are recorded and replayed, where they are on a GPU.
  EvaluationPass(Module& model, DType dtype, std::int64_t batch_size, bool record);

  /// Waits for it.
  Answer run(const Batch& batch);

 private:
  void keep(const Batch& batch);
  Tensor compute(const Tensor& images, const Tensor& labels);
  Answer read(const Tensor& logits) const;

  Module& model_;
  DType dtype_;
  std::int64_t batch_size_;
  bool record_;
  int whole_batches_ = 0;   ///< computed without recording: they prepare what a recording needs
  Tensor measured_;         ///< {1, 3}: loss, correct, correct5
  Tensor count_;            ///< {} of i64: of the batches
  Tensor images_, labels_;  ///< what recorded work reads, the images in `dtype`
  Tensor logits_;           ///< what it writes
  std::unique_ptr<RecordedWork> recorded_;
};

}  // namespace generous

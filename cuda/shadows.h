// Shadows: weights rounded to bf16, kept beside the f32 ones that convolutions of bf16 images are asked for.
// An optimiser's step writes both; whatever else writes a weight makes its shadow stale, and a stale one is
// made anew before it is read. So is it with recorded work, whose replays run no code of ours.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/tensor.h"

namespace generous::cuda {

/// The companion of a storage: something that was worked out from what it holds.
struct WorkedOut : Companion {
  bool fresh = false;  ///< whether it is that of what the storage holds when all work so far is done
};

/// That of a weight {..., C}: it, rounded.
struct Shadow final : WorkedOut {
  Tensor rounded;            ///< bf16, of the same shape or {..., 8} with zeros (padding.h)
  bool sums_wanted = false;  ///< of what the weight's convolution makes (output_sums.h)
};

/// To be called by whatever writes to x.
inline void written(const Tensor& x) {
  if (auto* companion = static_cast<WorkedOut*>(x.companion().get())) companion->fresh = false;
}

/// What recorded work knows of shadows.
struct RecordedShadows {
  std::vector<Tensor> weights;                   ///< whose shadows it reads or writes
  std::vector<std::shared_ptr<Shadow>> shadows;  ///< of these
  std::vector<bool> fresh;                       ///< likewise, at its end
};

/// All shadows of a backend.
class Shadows {
 public:
  /// y = x, rounded, with zeros where y has more channels; on the backend's stream.
  explicit Shadows(std::function<void(const Tensor& x, Tensor& y)> round) : round_(std::move(round)) {}

  /// The weight's shadow for so many channels, made or made anew if need be.
  Tensor of(const Tensor& weight, std::int64_t channels);
  /// The weight's shadow if it has one.
  static std::shared_ptr<Shadow> find(const Tensor& weight) {
    return std::dynamic_pointer_cast<Shadow>(weight.companion());
  }
  /// The weight's shadow if it has one, for a kernel that is about to write both.
  Tensor to_write_with(const Tensor& weight);

  /// What is done between these is recorded, not run.
  void begin_recording() { recording_ = std::make_unique<RecordedShadows>(); }
  /// What was noted since: to be asked for when the recording is complete. Without being asked, as after a
  /// failure, none of it will run.
  RecordedShadows take_recording();
  void end_recording();

  /// Makes fresh what the recorded work reads.
  void before_replay(const RecordedShadows& recorded);
  /// Of weights that the recorded work wrote it may have known no shadow, so all others are stale.
  void after_replay(const RecordedShadows& recorded);

 private:
  void note(const Tensor& weight, const std::shared_ptr<Shadow>& shadow);

  std::function<void(const Tensor&, Tensor&)> round_;
  std::vector<std::weak_ptr<Shadow>> all_;
  std::unique_ptr<RecordedShadows> recording_;
};

}  // namespace generous::cuda

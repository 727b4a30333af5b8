// One step of training: forward, loss, backward for each slice of a batch, then the optimiser. On a GPU it is
// recorded once and then replayed without the host; its metrics stay there until they are read.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "apps/training/step_metrics.h"
#include "core/backend.h"
#include "core/options.h"
#include "data/loader.h"
#include "data/mixing.h"
#include "nn/distill/method.h"
#include "nn/optim.h"
#include "nn/parallel/gradient_sum.h"
#include "nn/weight_average.h"

namespace generous {

struct TrainStepOptions {
  DType dtype = DType::f32;       ///< what the networks compute in
  Device device = Device::cpu;    ///< where model, optimiser and batches are
  bool record = true;             ///< on a GPU: record the step and replay it
  std::int64_t batch_size = 128;  ///< of every whole batch but an epoch's last
  double label_smoothing = 0.0;   ///< Labels::smoothing
  MixingOptions mixing = {};      ///< of the images of a batch, for student and teacher alike
  std::uint64_t seed = 0;         ///< of that
  Group* group = nullptr;         ///< the processes that take the other slices; null: there are none
  bool sync_batch_norm = false;   ///< batch norms take their statistics from all of them
  bool in_order = false;          ///< sums over them are in the order of their ranks: Group::start_sum

  /// Declares label_smoothing, those of mixing, sync_batch_norm, and record.
  void declare(Options& options);
};

/// Who learns from whom, and how.
struct Distillation {
  Network& student;
  Network* teacher;  ///< frozen, or in training mode, as the method needs it; null where it needs none
  Method& method;
};

/// The images to train on, as far as a method must know them.
struct TrainingImages {
  Shape shape;  ///< {H, W, C} of one
  std::span<const std::int64_t> labels = {};
  std::int64_t classes = 0;
  /// Calls its argument with every batch of them, not augmented; only for a method that needs class means.
  std::function<void(const std::function<void(const Batch&)>&)> for_each_batch = {};
};

/// What a network says of images {B, H, W, C}, as far as a method needs it.
Outputs outputs_of(Network& network, const Tensor& images, const Needs& needs);

/// The network to train where `method` distils into `student`, for images {H, W, C}; with what it adds
/// initialised by `seed`. Throws Error if the method cannot join the two networks.
std::unique_ptr<Network> student_for(Method& method, std::unique_ptr<Network> student, Network* teacher,
                                     const Shape& image, const TrainStepOptions& options, std::uint64_t seed);

/// Builds what the method has of its own for these networks, initialises it by `seed` and moves it to their
/// device. Throws Error if it cannot join them.
void connect(const Distillation& distillation, const TrainingImages& images, const TrainStepOptions& options,
             std::uint64_t seed);

class TrainStep {
 public:
  /// Everything must outlive the step. `average`, of the student's weights, is updated if there is one.
  TrainStep(const Distillation& distillation, Optimizer& optimizer, const TrainStepOptions& options,
            WeightAverage* average = nullptr);

  /// Begins an epoch, whose loss may differ from the last one's: then the step is recorded anew.
  void start_epoch(std::int64_t epoch);
  /// Step `step` of the run, counted from 0, with the optimiser's learning rate, on the slices of a batch.
  /// Losses and their gradients are sums over the slices in their order, and over those of the other
  /// processes, each weighted by its share of the batch's rows: those of the whole batch, where a loss is a
  /// mean over rows. Batch norm takes its statistics over a slice. The result is of this step even after
  /// further ones. Throws Error for more than one slice of a batch that is mixed, or with a method that is
  /// relational.
  PendingMetrics run(std::span<const Batch> slices, std::int64_t step);
  PendingMetrics run(const Batch& batch, std::int64_t step) { return run(std::span(&batch, 1), step); }

 private:
  /// What is measured of a slice, or of several: {} each, as MetricsTable::store takes it.
  struct Measures {
    Tensor loss;
    std::vector<Tensor> terms;
    Tensor correct;
    Tensor flat_rows;

    void add(const Measures& others);
  };

  void check_slices(std::span<const Batch> slices) const;
  Mixture mixture_of(const Batch& batch, std::int64_t step) const;
  void keep(std::span<const Batch> slices, const Mixture& mixture);
  void compute(std::span<const Batch> slices, const Mixture& mixture);
  Measures learn_from(const Batch& slice, const Mixture& mixture, bool last);
  void sum_over_group(Measures& measured);
  bool runs_recorded(std::span<const Batch> slices) const;

  Network& student_;
  Network* teacher_;
  Method& method_;
  Needs needs_;
  Optimizer& optimizer_;
  WeightAverage* average_;
  TrainStepOptions options_;
  std::unique_ptr<Group> alone_;  ///< where there is no other
  Group& group_;
  std::int64_t epoch_ = 0;  ///< since which the loss is this
  /// Computed without recording: they prepare what a recording needs, the first two of a run.
  int whole_batches_ = 0;
  Tensor step_;                              ///< {} of i64: for random layers
  Tensor one_;                               ///< {}: the gradient of a loss
  std::shared_ptr<std::int64_t> first_row_;  ///< likewise: of the slice at hand
  GradientSum gradients_;
  MetricsTable metrics_;
  Random mixing_random_;
  std::vector<Batch> inputs_;  ///< what recorded work reads
  Mixture mixture_;            ///< likewise
  std::unique_ptr<RecordedWork> recorded_;
};

}  // namespace generous

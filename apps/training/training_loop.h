// Epoch after epoch: steps, evaluation, saving; stopping in good order and going on exactly.
#pragma once

#include "apps/training/checkpoint.h"
#include "apps/training/csv.h"
#include "apps/training/evaluation.h"
#include "apps/training/log.h"
#include "apps/training/objective.h"
#include "nn/schedule.h"

namespace generous {

/// Both splits of a dataset.
struct Data {
  const DatasetInfo& info;
  Dataset train;
  Dataset test;
};

class TrainingLoop {
 public:
  /// Everything must outlive the loop. Networks compute in `dtype`.
  TrainingLoop(const Config& config, DType dtype, const Data& data, Module& model, Optimizer& optimizer,
               const Objective& objective, RunLog& log);

  /// Goes on from a saved state instead of from the beginning.
  void restore(const TrainingState& state, const std::filesystem::path& source);
  /// Writes the training state of a run that has not begun, so that even its first epoch can be resumed. It
  /// holds no weights: the configuration gives them again.
  void save_start() const;
  /// Until the last epoch, config.max_steps or a signal; returns the exit code. Throws Error when the loss or
  /// the weights stop being finite, leaving all files as they are.
  int run();

 private:
  int run_epochs();
  bool train_epoch();
  void train_step(const Batch& batch);
  bool finish_epoch();
  void finish_row(const Evaluation& test, double evaluation_seconds);
  int stop();
  void save(const NamedTensors& weights) const;
  void save_state(const NamedTensors& weights) const;
  NamedTensors finite_weights() const;
  [[noreturn]] void diverged(const std::string& what, std::int64_t step) const;
  bool steps_exhausted() const { return config_.max_steps > 0 && position_.step >= config_.max_steps; }
  void show_training();
  void show_evaluation(std::int64_t images);
  float learning_rate() const { return schedule_.learning_rate(position_.epoch); }

  const Config& config_;
  DType dtype_;
  Module& model_;
  Optimizer& optimizer_;
  const Objective& objective_;
  RunLog& log_;
  RunFolder folder_;
  MultiStepSchedule schedule_;
  std::int64_t train_images_;
  std::int64_t test_images_;
  Loader train_loader_;
  Loader test_loader_;
  CsvFile metrics_;
  CsvFile steps_;
  ProgressBar bar_;
  Position position_;
  double last_epoch_seconds_ = 0.0;  ///< of the last whole epoch, evaluation included; 0: none yet
};

}  // namespace generous

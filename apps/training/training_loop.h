// Epoch after epoch: steps, evaluation, saving; stopping in good order and going on exactly.
#pragma once

#include "apps/training/checkpoint.h"
#include "apps/training/csv.h"
#include "apps/training/evaluation.h"
#include "apps/training/log.h"
#include "apps/training/objective.h"
#include "apps/training/train_step.h"
#include "nn/schedule.h"

namespace generous {

/// Where and in which precision to compute.
struct Placing {
  Device device = Device::cpu;
  DType dtype = DType::f32;
};

/// What a run computes from: both splits of a dataset, and how to know them and the teacher again.
struct Data {
  const DatasetInfo& info;
  Dataset train;
  Dataset test;
  Inputs inputs;
};

class TrainingLoop {
 public:
  /// Everything must outlive the loop. Model and optimiser are on placing.device.
  TrainingLoop(const Config& config, const Placing& placing, const Data& data, Module& model,
               Optimizer& optimizer, const Objective& objective, RunLog& log);

  /// Goes on from a saved state instead of from the beginning. Throws Error for one of another run and for
  /// one that this run cannot have come to. Returns what the log should say: what was missing in the folder.
  std::vector<std::string> restore(const TrainingState& state, const std::filesystem::path& source);
  /// What is wrong with the teacher's logits for the next batch, "" if nothing is that the run can live with.
  /// Throws Error if no loss can be finite with them. Changes nothing.
  std::string examine_teacher();
  /// Writes the training state of a run that has not begun, so that even its first epoch can be resumed. It
  /// holds no weights: the configuration gives them again.
  void save_start() const;
  /// Until the last epoch, config.max_steps or a signal; returns the exit code. Throws Error when the loss or
  /// the weights stop being finite, leaving all files as they are.
  int run();

 private:
  /// A step whose metrics were not read yet.
  struct PendingStep {
    std::int64_t step = 0;  ///< counted from 1
    std::int64_t images = 0;
    StepMetrics metrics;
  };

  void check_reachable(const Position& position, const std::string& source) const;
  std::vector<std::string> restore_tables(const TrainingState& state);
  int run_epochs();
  bool train_epoch();
  void train_step(const Batch& batch);
  void account();
  TeacherFault teacher_fault(std::int64_t step_in_epoch);
  bool finish_epoch();
  void finish_row(const Evaluation& test, double evaluation_seconds);
  void note_flat_rows();
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
  Placing placing_;
  Module& model_;
  Optimizer& optimizer_;
  const Objective& objective_;
  RunLog& log_;
  RunFolder folder_;
  MultiStepSchedule schedule_;
  const Inputs& inputs_;
  std::int64_t train_images_;
  std::int64_t test_images_;
  Loader train_loader_;
  Loader test_loader_;
  CsvFile metrics_;
  CsvFile steps_;
  ProgressBar bar_;
  TrainStep step_;
  Position position_;
  std::int64_t flat_rows_ = 0;        ///< StepMetrics::flat_rows since the last note of them
  std::vector<PendingStep> pending_;  ///< on a GPU reading every step's metrics would make it wait
  double last_epoch_seconds_ = 0.0;   ///< of the last whole epoch, evaluation included; 0: none yet
};

}  // namespace generous

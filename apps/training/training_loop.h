// Epoch after epoch: steps, evaluation, saving; stopping in good order and going on exactly.
#pragma once

#include "apps/training/batches.h"
#include "apps/training/measuring.h"
#include "apps/training/report.h"
#include "apps/training/saving.h"
#include "apps/training/teacher.h"
#include "apps/training/train_step.h"
#include "apps/training/training_data.h"
#include "data/loader.h"
#include "nn/schedule.h"

namespace generous {

struct LoopSettings {
  std::int64_t num_epochs = 160;
  std::int64_t max_steps = 0;
  std::int64_t save_every = 0;
  std::int64_t patience = 0;

  void declare(Options& options);
  /// Whether a run that is there is to stop early: so many epochs brought no better one.
  bool out_of_patience(const Position& position) const;
  /// "as none of the last 3 was better"
  std::string words_of_patience() const;
};

/// What a training is made of. Networks, method and optimiser are on step.device; all but the small settings
/// must outlive the loop.
struct Training {
  LoopSettings loop;
  LoaderOptions batches;
  TrainStepOptions step;
  Schedule learning_rates;
  const Data& data;
  Group& group;  ///< the processes that train together; one of them writes the run's files
  Network& student;
  const Teacher& teacher;
  Method& method;
  Optimizer& optimizer;
  WeightAverage* average = nullptr;  ///< of the student's weights
};

class TrainingLoop {
 public:
  TrainingLoop(const Training& training, RunIdentity run, const ReportSettings& report, RunLog& log);

  /// Goes on from a saved state instead of from the beginning. Throws Error for one of another run and for
  /// one that this run cannot have come to. Returns what the log should say: what was missing in the folder.
  std::vector<std::string> restore(const TrainingState& state, const std::filesystem::path& source);
  /// What is wrong with the teacher's logits for the next batch, "" if nothing is that the run can live with.
  /// Throws Error if no loss can be finite with them. Changes nothing.
  std::string examine_teacher();
  /// Writes the training state of a run that has not begun, so that even its first epoch can be resumed. It
  /// holds no weights: the configuration gives them again.
  void save_start() const;
  /// Until the last epoch, the end of patience, max_steps or a signal; returns the exit code. Throws Error
  /// when the loss or the weights stop being finite, leaving all files as they are.
  int run();

 private:
  /// A step whose metrics were not read yet.
  struct PendingStep {
    std::int64_t step = 0;  ///< counted from 1
    std::int64_t images = 0;
    PendingMetrics metrics;
  };

  void check_reachable(const Position& position, const std::string& source) const;
  void report_teacher();
  int run_epochs();
  bool train_epoch();
  void train_step();
  void account();
  TeacherFault teacher_fault(std::int64_t step_in_epoch);
  bool finish_epoch();
  int stop();
  void save_epoch(const EpochMeasures& measures, const Snapshot& snapshot);
  WeightsOrigin origin_of(const Measured* measured) const;
  void write(const std::filesystem::path& file, const NamedTensors& weights, const Measured* measured) const;
  void save(Snapshot snapshot) const;
  Snapshot finite_snapshot() const;
  [[noreturn]] void diverged(const std::string& what, std::int64_t step) const;
  bool stop_asked();
  void share_statistics();
  bool steps_exhausted() const {
    return training_.loop.max_steps > 0 && position_.step >= training_.loop.max_steps;
  }
  float learning_rate() const { return generous::learning_rate(training_.learning_rates, position_.epoch); }

  Training training_;
  RunIdentity run_;
  Loader train_loader_;
  Measuring measuring_;
  Report report_;
  TrainStep step_;
  Position position_;
  std::optional<EpochMeasures> measures_;  ///< of the weights as they are; nothing once a step changed them
  int signal_ = 0;                    ///< that asked a process of the group to stop, as far as all know of it
  std::string stopped_;               ///< the name of that process
  std::vector<PendingStep> pending_;  ///< on a GPU reading every step's metrics would make it wait
};

}  // namespace generous

// What a run reports: metrics.csv, steps.csv, TensorBoard's event file, lines in the log, the progress bar.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/tensorboard/event_file.h"
#include "apps/training/checkpoint.h"
#include "apps/training/csv.h"
#include "apps/training/log.h"
#include "apps/training/measuring.h"
#include "apps/training/time_left.h"
#include "core/options.h"

namespace generous {

struct ReportSettings {
  std::int64_t log_steps = 0;
  bool tensorboard = false;
  bool paper_metrics = false;
  // Not declared: they follow from other settings.
  bool validation = false;         ///< images are held out
  bool average = false;            ///< the average of the weights is measured too
  std::int64_t tested_images = 0;  ///< after each epoch, all that is measured counted
  std::string configuration = {};  ///< Options::to_json, for TensorBoard

  void declare(Options& options);
};

/// "best top-1 91.20 % in epoch 7", and what else a run knows of its best epochs.
std::string words_of_best(const Position& position);

/// A step's metrics, read from the device.
struct StepRow {
  std::int64_t step = 0;  ///< of the run, from 1
  float loss = 0.0F;
  std::vector<float> terms;
  float learning_rate = 0.0F;
};

/// What an epoch came to, beside its sums.
struct EpochResult {
  float learning_rate = 0.0F;
  const EpochMeasures& measures;
  const NamedTensors& weights;  ///< of the network, on the host
  double evaluation_seconds = 0.0;
};

class Report {
 public:
  /// `terms` are the names of the loss's. The log must outlive the report.
  Report(const RunFolder& folder, const ReportSettings& settings, std::vector<std::string> terms,
         std::int64_t num_epochs, RunLog& log);

  /// Takes over the tables of a run that goes on. Returns what was missing.
  std::vector<std::string> restore(const TrainingState& state);
  void add_step(const StepRow& row);
  /// So many images gave no non-target knowledge.
  void add_flat_rows(std::int64_t images) { flat_rows_ += images; }
  /// The row of the epoch that `position` is at the end of, its line in the log and what TensorBoard shows of
  /// it.
  void add_epoch(const Position& position, const EpochResult& result);
  /// Says how many images of the epoch under way gave no non-target knowledge, if any.
  void note_flat_rows(const Position& position);

  /// The bar while an epoch of so many images is trained, and while so many images of `all` are tested, after
  /// the epoch or, to know the teacher, before the first one.
  void show_training(const Position& position, std::int64_t images);
  void show_evaluation(const Position& position, std::int64_t images, std::int64_t all);
  void show_teacher(std::int64_t images, std::int64_t all);
  /// Removes the bar, and writes a line into the log.
  void line(const std::string& text);

  /// Writes every file, if the log does.
  void write() const;
  /// The heading and the rows of metrics.csv without the times, for the training state.
  std::vector<std::string> metrics_rows() const;
  RunLog& log() { return log_; }

 private:
  std::vector<Field> progress(const Position& position, const Rest& rest) const;

  RunFolder folder_;
  ReportSettings settings_;
  std::vector<std::string> terms_;
  std::int64_t num_epochs_;
  RunLog& log_;
  CsvFile metrics_;
  CsvFile steps_;
  std::unique_ptr<EventFile> events_;  ///< with --tensorboard 1, in the process that writes
  ProgressBar bar_;
  TimeLeft time_left_;
  std::int64_t epoch_images_ = 0;  ///< that an epoch trains on; 0: not known yet
  std::int64_t flat_rows_ = 0;     ///< since the last note of them
};

}  // namespace generous

// What a run leaves in its folder: weights for use elsewhere, and the training state, from which it goes on
// exactly where it stopped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/training/config.h"
#include "core/safetensors.h"
#include "nn/module.h"
#include "nn/optim.h"

namespace generous {

/// The files of a run's folder.
struct RunFolder {
  std::filesystem::path path;

  std::filesystem::path last_model() const { return path / "last_model.safetensors"; }
  std::filesystem::path best_model() const { return path / "best_model.safetensors"; }
  std::filesystem::path training_state() const { return path / "training_state.safetensors"; }
  std::filesystem::path metrics() const { return path / "metrics.csv"; }
  std::filesystem::path steps() const { return path / "steps.csv"; }
  std::filesystem::path log() const { return path / "training.log"; }
};

/// What has been summed up over the images of the epoch under way.
struct EpochSums {
  std::int64_t images = 0;
  std::int64_t correct = 0;
  double loss = 0.0;
  std::vector<double> terms;
  double seconds = 0.0;  ///< of training, evaluation excluded
};

/// The best epoch as the paper's program chooses it: the latest of equals, by its own accuracy.
struct PaperBest {
  std::int64_t epoch = 0;  ///< counted from 1; 0: none yet
  double accuracy = 0.0;   ///< Evaluation::paper_accuracy
};

/// Where a run is.
struct Position {
  std::int64_t epoch = 0;               ///< epochs completed
  std::int64_t step_in_epoch = 0;       ///< steps of the epoch under way
  std::int64_t step = 0;                ///< steps since the run began
  std::int64_t best_epoch = 0;          ///< counted from 1; 0: none yet
  double best_accuracy = 0.0;           ///< top-1 in percent
  std::optional<PaperBest> paper_best;  ///< with --paper_metrics 1
  EpochSums sums;
};

/// Everything an exact resume needs.
struct TrainingState {
  Position position;
  std::string config;             ///< to_json of the configuration
  std::int64_t train_images = 0;  ///< how many the training split has
  NamedTensors model;             ///< state_dict; empty before the first step
  NamedTensors optimizer;         ///< Optimizer::state; likewise
};

void write_training_state(const std::filesystem::path& path, const TrainingState& state);
/// Throws Error if the file is not a training state.
TrainingState read_training_state(const std::filesystem::path& path);

/// Throws Error that names the first setting in which the saved run differs and may not.
void check_same_settings(const Config& config, const TrainingState& state, const std::filesystem::path& path);

/// A run's weights as a file that other programs read, PyTorch's included.
void write_weights(const std::filesystem::path& path, const NamedTensors& weights, const Config& config);

}  // namespace generous

// What a run leaves in its folder: weights for use elsewhere, and the training state, from which it goes on
// exactly where it stopped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "core/safetensors.h"
#include "nn/module.h"
#include "nn/optim.h"

namespace generous {

/// The largest number of epochs.
inline constexpr std::int64_t max_epochs = 1'000'000;

/// The files of a run's folder.
struct RunFolder {
  std::filesystem::path path;

  std::filesystem::path params() const { return path / "params.json"; }
  std::filesystem::path last_model() const { return path / "last_model.safetensors"; }
  std::filesystem::path best_model() const { return path / "best_model.safetensors"; }
  /// The same of the averaged weights.
  std::filesystem::path ema_last_model() const { return path / "ema_last_model.safetensors"; }
  std::filesystem::path ema_best_model() const { return path / "ema_best_model.safetensors"; }
  /// Of an epoch, counted from 1, that is kept.
  std::filesystem::path epoch_model(std::int64_t epoch) const {
    return path / ("epoch_" + std::to_string(epoch) + "_model.safetensors");
  }
  std::filesystem::path ema_epoch_model(std::int64_t epoch) const {
    return path / ("ema_epoch_" + std::to_string(epoch) + "_model.safetensors");
  }
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

/// The best epoch so far, of the weights or of their average.
struct Best {
  std::int64_t epoch = 0;                    ///< counted from 1; 0: none yet
  double accuracy = 0.0;                     ///< top-1 in percent on the images by which it is chosen
  std::optional<double> test_accuracy = {};  ///< on the test images, where images held out choose
};

/// The best epoch as the paper's program chooses it: the latest of equals, by its own accuracy.
struct PaperBest {
  std::int64_t epoch = 0;  ///< counted from 1; 0: none yet
  double accuracy = 0.0;   ///< Evaluation::paper_accuracy
};

/// Where a run is.
struct Position {
  std::int64_t epoch = 0;          ///< epochs completed
  std::int64_t step_in_epoch = 0;  ///< steps of the epoch under way
  std::int64_t step = 0;           ///< steps since the run began
  Best best;
  std::optional<Best> ema_best;         ///< of the averaged weights, if there are any
  std::optional<PaperBest> paper_best;  ///< with --paper_metrics 1
  EpochSums sums;
};

/// What a run computes from and its settings do not say. Older states have none of it.
struct Inputs {
  std::vector<std::string> classes;               ///< their names, by index
  std::map<std::string, std::string> hashes;      ///< of "training images", "teacher's weights", ...
  std::int64_t threads = 0;                       ///< that compute; 0: not known
  std::int64_t slices = 1;                        ///< of each batch
  std::string normalisation = {};                 ///< of the images, as text; "": not known
  std::optional<std::int64_t> crop_padding = {};  ///< pixels around the images
};

/// Everything an exact resume needs.
struct TrainingState {
  Position position;
  std::string config;             ///< Options::to_json of the settings
  std::int64_t train_images = 0;  ///< how many the training split has
  Inputs inputs;
  /// The rows of metrics.csv without the times, which alone differ from run to run; older states have none.
  std::optional<std::vector<std::string>> metrics;
  NamedTensors model;      ///< state_dict; empty before the first step
  NamedTensors method;     ///< the same of the distillation method
  NamedTensors optimizer;  ///< Optimizer::state; likewise
  NamedTensors average;    ///< WeightAverage::state; likewise, and without an average
};

void write_training_state(const std::filesystem::path& path, const TrainingState& state);
/// Throws Error if the file is not a training state, or one that no run can have written.
TrainingState read_training_state(const std::filesystem::path& path);
/// The same of a file's `content` in memory; `path` names it in messages.
TrainingState parse_training_state(std::string_view content, const std::filesystem::path& path);

/// Throws Error that names the first setting in which the saved run differs and may not.
void check_same_settings(const std::vector<SettingValue>& settings, const TrainingState& state,
                         const std::filesystem::path& path);

/// Throws Error that says in what the saved run's classes, images or teacher differ. Returns what the log
/// should say: what could not be compared, another number of threads.
std::vector<std::string> check_same_inputs(const Inputs& now, const TrainingState& state,
                                           const std::filesystem::path& path);

}  // namespace generous

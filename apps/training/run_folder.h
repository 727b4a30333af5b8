// What is in a run's folder at the start, and what the start may do with it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/training/checkpoint.h"
#include "core/options.h"

namespace generous {

struct RunSettings {
  std::string save_path;
  bool resume = false;

  /// Declares them, and takes the folder's params.json for what is declared afterwards.
  void declare(Options& options);
};

/// The saved state that a run goes on from, nothing for a new run. Throws Error for --resume of a run that is
/// not there or has other `settings`, and without it if the folder holds a run, of this program or of
/// another.
std::optional<TrainingState> saved_state(const RunSettings& run, const std::vector<SettingValue>& settings,
                                         const std::string& dataset);

/// What writing params.json anew changes of the values in it: "num_epochs from 160 to 2".
std::vector<std::string> changes_of_params(const std::filesystem::path& params,
                                           const std::vector<SettingValue>& settings);

}  // namespace generous

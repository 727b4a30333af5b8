// Where the weights that a setting names are.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace generous {

/// Weights that were found.
struct FoundWeights {
  std::filesystem::path path;
  std::string note;  ///< that they are not the ones one would expect; usually empty
};

/// Where the weights that a setting names are.
struct WeightFinder {
  std::filesystem::path save_path;  ///< of the run that asks; may be empty
  /// The program that trains the run in a folder, for the message when its weights are not there.
  std::function<std::string(const std::filesystem::path& run)> program_of_run;

  /// .tar, where there is none, stands for the .safetensors beside it; a folder, for the best weights of the
  /// run in it, or its last ones where it has no others; a relative path is looked up from the current
  /// folder, then from the folder that contains the `experiments/` in `save_path`. Throws Error that names
  /// the key, every place tried and, for a run's checkpoint, the last weights that are there or the command
  /// that makes it.
  FoundWeights find(const std::string& key, const std::string& path) const;
  /// The same, but nothing where `find` throws.
  std::optional<FoundWeights> look(const std::string& path) const;

 private:
  std::string train_command(const std::filesystem::path& run) const;
};

}  // namespace generous

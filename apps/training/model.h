// The model that a program is asked for.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "apps/training/weights_origin.h"
#include "core/options.h"
#include "nn/models/registry.h"

namespace generous {

/// The setting that names a model.
struct ModelKey {
  std::string name;
  std::string help;
  std::string alias = {};  ///< another name that is understood
  bool required = true;    ///< where no file of weights says what it holds
  /// A file whose shapes may tell what to give where it is missing; empty if there is none.
  std::filesystem::path weights = {};
};

/// A model's name, and the settings of its family.
struct ModelSettings {
  std::string name;
  std::unique_ptr<ModelFamily> family;  ///< null while there is no such model

  /// Declares the name, and then what the family declares. Their defaults are what a file of weights holds,
  /// as far as that is known.
  void declare(Options& options, const ModelKey& key, const WeightsOrigin& held = {});
  /// What the family declares, as the text of a JSON object; "" if it declares nothing.
  std::string own_settings() const;
  /// Builds and initialises it. Throws Error for an unknown name, and like make_model.
  std::unique_ptr<Network> make(const ModelOptions& options) const;
};

/// Settings of `net` that the paper's files have for every model: without effect where no family declares
/// them. To be declared behind the models.
struct PaperModelSettings {
  std::int64_t num_channels = 32;
  double dropout_rate = 0.0;

  void declare(Options& options);
};

/// For the message when the setting of another model is given.
void tell_models_apart(Options& options);

}  // namespace generous

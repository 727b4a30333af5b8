// The model that a program is asked for.
#pragma once

#include <memory>
#include <string>

#include "core/options.h"
#include "nn/models/registry.h"

namespace generous {

/// A model's name, and the settings of its family.
struct ModelSettings {
  std::string name;
  std::unique_ptr<ModelFamily> family;  ///< null while there is no such model

  /// Declares the name as `key`, which has another name if `alias` is not empty, and then what the family
  /// declares.
  void declare(Options& options, const std::string& key, const std::string& help,
               const std::string& alias = {}, bool required = true);
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

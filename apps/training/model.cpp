#include "apps/training/model.h"

namespace generous {

void ModelSettings::declare(Options& options, const ModelKey& key, const WeightsOrigin& held) {
  name = held.model_name;
  options.add(key.name, name,
              {.help = key.help, .alias = key.alias, .required = key.required && held.model_name.empty()});
  family = find_family(name);
  if (family == nullptr) return;
  if (name == held.model_name && !held.model_settings.empty()) {
    Options own(name);
    own.params(held.model_settings, "the model_settings of " + name + "'s weights");
    family->declare(own);
    own.finish();
  }
  family->declare(options);
}

std::string ModelSettings::own_settings() const {
  if (family == nullptr) return {};
  Options own(name);
  family->declare(own);
  return own.settings().empty() ? std::string() : own.to_json();
}

std::unique_ptr<Network> ModelSettings::make(const ModelOptions& options) const {
  return family != nullptr ? make_model(*family, options) : make_model(name, options);
}

void PaperModelSettings::declare(Options& options) {
  options.add("num_channels", num_channels, {.help = "", .min = 1, .max = 4096, .role = Role::unused});
  options.add("dropout_rate", dropout_rate, {.help = "", .min = 0, .max = 0.999, .role = Role::unused});
}

void tell_models_apart(Options& options) {
  for (const std::string& name : model_names()) {
    const std::unique_ptr<ModelFamily> family = find_family(name);
    Options own(name);
    family->declare(own);
    options.belongs_to("model " + name, own);
  }
}

}  // namespace generous

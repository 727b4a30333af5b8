#include "apps/training/model.h"

namespace generous {

void ModelSettings::declare(Options& options, const std::string& key, const std::string& help,
                            const std::string& alias, bool required) {
  options.add(key, name, {.help = help, .alias = alias, .required = required});
  family = find_family(name);
  if (family != nullptr) family->declare(options);
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

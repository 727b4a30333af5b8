#include "apps/training/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/training/fitting_models.h"
#include "apps/training/weights.h"

namespace generous {

namespace {

/// What to give for a model's name, as far as its weights tell.
std::string advice_on(const ModelKey& key) {
  const std::vector<std::string> models = models_that_fit(read_weights(key.weights).content.tensors);
  if (models.empty()) return {};
  return fmt::format("{} fits {}; give --{} {}", key.weights.string(), fmt::join(models, ", "), key.name,
                     models.size() == 1 ? models.front() : "and one of these");
}

}  // namespace

void ModelSettings::declare(Options& options, const ModelKey& key, const WeightsOrigin& held) {
  name = held.model_name;
  const bool required = key.required && name.empty();
  const bool missing =
      required && !options.asks_for_help() && options.given_text(key.name, key.alias).empty();
  options.add(key.name, name,
              {.help = key.help,
               .advice = missing && !key.weights.empty() ? advice_on(key) : "",
               .alias = key.alias,
               .required = required});
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

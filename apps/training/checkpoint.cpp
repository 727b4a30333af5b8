#include "apps/training/checkpoint.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/training/config_keys.h"
#include "core/error.h"
#include "core/json.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

using Metadata = std::map<std::string, std::string>;

constexpr std::string_view model_prefix = "model.";
constexpr std::string_view optimizer_prefix = "optimizer.";

/// Calls `f` with the name and a reference to every number of a position: one list for writing and reading.
template <class Position, class F>
void for_each_number(Position& position, F&& f) {
  f("epoch", position.epoch);
  f("step_in_epoch", position.step_in_epoch);
  f("step", position.step);
  f("best_epoch", position.best_epoch);
  f("best_accuracy", position.best_accuracy);
  if (position.paper_best) {
    f("paper_best_epoch", position.paper_best->epoch);
    f("paper_best_accuracy", position.paper_best->accuracy);
  }
  f("sum_images", position.sums.images);
  f("sum_correct", position.sums.correct);
  f("sum_loss", position.sums.loss);
  f("sum_seconds", position.sums.seconds);
  for (std::size_t i = 0; i < position.sums.terms.size(); ++i)
    f(fmt::format("sum_term{}", i), position.sums.terms[i]);
}

const std::string& entry(const Metadata& metadata, const std::string& key,
                         const std::filesystem::path& path) {
  const auto found = metadata.find(key);
  if (found == metadata.end())
    fail("{} is not a training state of this program: its metadata has no '{}'", path.string(), key);
  return found->second;
}

template <class T>
void read_number(const Metadata& metadata, const std::string& key, const std::filesystem::path& path,
                 T& out) {
  const std::string& text = entry(metadata, key, path);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  bool good = error == std::errc() && end == text.data() + text.size();
  if constexpr (std::is_floating_point_v<T>)
    good = good && std::isfinite(out);
  else
    good = good && out >= 0;
  require(good, "{} is damaged: its metadata has {} = '{}'", path.string(), key, text);
}

void add_prefixed(NamedTensors& out, std::string_view prefix, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) out.emplace_back(fmt::format("{}{}", prefix, name), tensor);
}

}  // namespace

void write_training_state(const std::filesystem::path& path, const TrainingState& state) {
  Metadata metadata = {{"config", state.config},
                       {"train_images", fmt::format("{}", state.train_images)},
                       {"terms", fmt::format("{}", state.position.sums.terms.size())}};
  for_each_number(state.position, [&](const std::string& key, auto value) {
    metadata[key] = fmt::format("{}", value);  // doubles: the shortest text that reads back the same
  });
  NamedTensors tensors;
  add_prefixed(tensors, model_prefix, state.model);
  add_prefixed(tensors, optimizer_prefix, state.optimizer);
  write_safetensors(path, tensors, metadata);
}

TrainingState read_training_state(const std::filesystem::path& path) {
  const SafetensorsFile file = read_safetensors(path);
  TrainingState state;
  state.config = entry(file.metadata, "config", path);
  read_number(file.metadata, "train_images", path, state.train_images);
  std::int64_t terms = 0;
  read_number(file.metadata, "terms", path, terms);
  require(terms <= 16, "{}: 'terms' is {}, at most 16 are possible", path.string(), terms);
  state.position.sums.terms.resize(static_cast<std::size_t>(terms));
  if (file.metadata.contains("paper_best_epoch")) state.position.paper_best.emplace();
  for_each_number(state.position,
                  [&](const std::string& key, auto& value) { read_number(file.metadata, key, path, value); });
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(model_prefix))
      state.model.emplace_back(name.substr(model_prefix.size()), tensor);
    else if (name.starts_with(optimizer_prefix))
      state.optimizer.emplace_back(name.substr(optimizer_prefix.size()), tensor);
    else
      fail("{}: unexpected tensor '{}'", path.string(), name);
  }
  return state;
}

void check_same_settings(const Config& config, const TrainingState& state,
                         const std::filesystem::path& path) {
  const nlohmann::json saved = parse_json_strictly(state.config, path.string());
  // A setting that did not exist yet when the run was saved had its default's effect.
  std::map<std::string, std::string> defaults;
  for (const Setting& setting : settings(default_config(config.program, config.model_name, config.dataset)))
    defaults[setting.key] = setting.json;
  for (const Setting& setting : settings(config)) {
    if (setting.may_change) continue;
    const std::string before =
        saved.contains(setting.key) ? saved[setting.key].dump() : defaults.at(setting.key);
    if (before != setting.json)
      fail("cannot resume {}: {} was {}, now it is {}; keep it, or start a new run in another folder",
           path.string(), setting.key, before, setting.json);
  }
}

void write_weights(const std::filesystem::path& path, const NamedTensors& weights, const Config& config) {
  write_safetensors(path, weights,
                    {{"format", "pt"}, {"model_name", config.model_name}, {"dataset", config.dataset}});
}

}  // namespace generous

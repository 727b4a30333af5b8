#include "apps/training/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/training/weights.h"
#include "core/counted.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/normalisation.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

using Metadata = std::map<std::string, std::string>;

constexpr std::string_view model_prefix = "model.";
constexpr std::string_view method_prefix = "method.";
constexpr std::string_view optimizer_prefix = "optimizer.";
constexpr std::string_view average_prefix = "average.";

template <class Best, class F>
void for_each_number(const std::string& prefix, Best& best, F&& f) {
  f(prefix + "best_epoch", best.epoch);
  f(prefix + "best_accuracy", best.accuracy);
  if (best.test_accuracy) f(prefix + "best_test_accuracy", *best.test_accuracy);
}

/// Calls `f` with the name and a reference to every number of a position: one list for writing and reading.
template <class Position, class F>
void for_each_number(Position& position, F&& f) {
  f("epoch", position.epoch);
  f("step_in_epoch", position.step_in_epoch);
  f("step", position.step);
  for_each_number("", position.best, f);
  if (position.ema_best) for_each_number("ema_", *position.ema_best, f);
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

/// {"training images": "HASH", ...}
std::map<std::string, std::string> read_hashes(const std::string& text, const std::filesystem::path& path) {
  const nlohmann::json hashes = parse_json_strictly(text, fmt::format("{}: hashes", path.string()));
  const bool good =
      hashes.is_object() && std::ranges::all_of(hashes, [](const auto& hash) { return hash.is_string(); });
  if (!good) fail("{} is damaged: its metadata has hashes = {}", path.string(), json_excerpt(hashes));
  return hashes.get<std::map<std::string, std::string>>();
}

/// Throws Error for what cannot be, whatever the settings.
void check_possible(const TrainingState& state, const std::filesystem::path& path) {
  const Position& position = state.position;
  const auto check = [&](bool possible, std::string_view what) {
    require(possible, "{} is damaged: {}", path.string(), what);
  };
  check(state.train_images > 0, "it has no training images");
  const std::int64_t padding = state.inputs.crop_padding.value_or(0);
  check(padding <= 4096, fmt::format("its images are padded by {} pixels", padding));
  check(position.epoch <= max_epochs, fmt::format("it is in epoch {}", position.epoch));
  const auto check_best = [&](const Best& best) {
    check(best.epoch <= position.epoch && (best.epoch > 0) == (position.epoch > 0),
          fmt::format("its best epoch is {} of {}", best.epoch, position.epoch));
    for (const double accuracy : {best.accuracy, best.test_accuracy.value_or(0.0)})
      check(accuracy >= 0 && accuracy <= 100, fmt::format("its best accuracy is {} %", accuracy));
  };
  check_best(position.best);
  if (position.ema_best) check_best(*position.ema_best);
  if (position.paper_best)
    check(position.paper_best->epoch <= position.epoch,
          fmt::format("its best epoch by the paper's rule is {} of {}", position.paper_best->epoch,
                      position.epoch));
  const EpochSums& sums = position.sums;
  check(sums.images <= state.train_images && sums.correct <= sums.images,
        fmt::format("of the epoch's {} {} were seen and {} recognised", counted(state.train_images, "image"),
                    sums.images, sums.correct));
  check(sums.seconds >= 0, fmt::format("its epoch took {} seconds", sums.seconds));
  // At the start there are none, or those that the run begins with anyway.
  check(position.step == 0 || !state.model.empty(),
        fmt::format("it has no weights after step {}", position.step));
  check(position.step == 0 || position.ema_best.has_value() == !state.average.empty(),
        fmt::format("it has {} of averaged weights after step {}",
                    counted(std::ssize(state.average), "tensor"), position.step));
}

}  // namespace

void write_training_state(const std::filesystem::path& path, const TrainingState& state) {
  Metadata metadata = {{"config", state.config},
                       {"train_images", fmt::format("{}", state.train_images)},
                       {"classes", list_to_json(state.inputs.classes)},
                       {"hashes", nlohmann::json(state.inputs.hashes).dump()},
                       {"threads", fmt::format("{}", state.inputs.threads)},
                       {"slices", fmt::format("{}", state.inputs.slices)},
                       {"normalisation", state.inputs.normalisation},
                       {"terms", fmt::format("{}", state.position.sums.terms.size())}};
  if (state.inputs.crop_padding) metadata["crop_padding"] = fmt::format("{}", *state.inputs.crop_padding);
  if (state.metrics) metadata["metrics"] = list_to_json(*state.metrics);
  for_each_number(state.position, [&](const std::string& key, auto value) {
    metadata[key] = fmt::format("{}", value);  // doubles: the shortest text that reads back the same
  });
  NamedTensors tensors;
  add_prefixed(tensors, model_prefix, state.model);
  add_prefixed(tensors, method_prefix, state.method);
  add_prefixed(tensors, optimizer_prefix, state.optimizer);
  add_prefixed(tensors, average_prefix, state.average);
  write_safetensors(path, tensors, metadata);
}

TrainingState read_training_state(const std::filesystem::path& path) {
  return parse_training_state(read_file(path), path);
}

TrainingState parse_training_state(std::string_view content, const std::filesystem::path& path) {
  const SafetensorsFile file = parse_safetensors(content, path.string());
  TrainingState state;
  state.config = entry(file.metadata, "config", path);
  read_number(file.metadata, "train_images", path, state.train_images);
  std::int64_t terms = 0;
  read_number(file.metadata, "terms", path, terms);
  require(terms <= 16, "{}: 'terms' is {}, at most 16 are possible", path.string(), terms);
  state.position.sums.terms.resize(static_cast<std::size_t>(terms));
  const auto has = [&](const char* key) { return file.metadata.contains(key); };
  if (has("paper_best_epoch")) state.position.paper_best.emplace();
  if (has("best_test_accuracy")) state.position.best.test_accuracy.emplace();
  if (has("ema_best_epoch")) state.position.ema_best.emplace();
  if (has("ema_best_epoch") && has("ema_best_test_accuracy"))
    state.position.ema_best->test_accuracy.emplace();
  for_each_number(state.position,
                  [&](const std::string& key, auto& value) { read_number(file.metadata, key, path, value); });
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(model_prefix))
      state.model.emplace_back(name.substr(model_prefix.size()), tensor);
    else if (name.starts_with(method_prefix))
      state.method.emplace_back(name.substr(method_prefix.size()), tensor);
    else if (name.starts_with(optimizer_prefix))
      state.optimizer.emplace_back(name.substr(optimizer_prefix.size()), tensor);
    else if (name.starts_with(average_prefix))
      state.average.emplace_back(name.substr(average_prefix.size()), tensor);
    else
      fail("{}: unexpected tensor '{}'", path.string(), name);
  }
  const auto list = [&](const std::string& key) {
    return list_from_json(entry(file.metadata, key, path), fmt::format("{}: {}", path.string(), key));
  };
  if (has("classes")) state.inputs.classes = list("classes");
  if (has("hashes")) state.inputs.hashes = read_hashes(file.metadata.at("hashes"), path);
  if (has("threads")) read_number(file.metadata, "threads", path, state.inputs.threads);
  if (has("slices")) read_number(file.metadata, "slices", path, state.inputs.slices);
  if (has("normalisation")) {
    state.inputs.normalisation = file.metadata.at("normalisation");
    require(state.inputs.normalisation.empty() || parse_normalisation(state.inputs.normalisation),
            "{} is damaged: its metadata has normalisation = '{}'", path.string(),
            state.inputs.normalisation);
  }
  if (has("crop_padding"))
    read_number(file.metadata, "crop_padding", path, state.inputs.crop_padding.emplace());
  if (has("metrics")) state.metrics = list("metrics");
  check_possible(state, path);
  return state;
}

void check_same_settings(const std::vector<SettingValue>& settings, const TrainingState& state,
                         const std::filesystem::path& path) {
  const nlohmann::json saved = parse_json_strictly(state.config, path.string());
  for (const SettingValue& setting : settings) {
    if (setting.may_change) continue;
    // A setting that did not exist yet when the run was saved had its default's effect.
    const std::string before = saved.contains(setting.key) ? saved[setting.key].dump() : setting.json_default;
    if (before != setting.json)
      fail("cannot resume {}: {} was {}, now it is {}; keep it, or start a new run in another folder",
           path.string(), setting.key, before, setting.json);
  }
}

std::vector<std::string> check_same_inputs(const Inputs& now, const TrainingState& state,
                                           const std::filesystem::path& path) {
  const auto refuse = [&path](const std::string& what) {
    fail("cannot resume {}: {}; bring back what there was, or start a new run in another folder",
         path.string(), what);
  };
  std::vector<std::string> unknown;
  const std::vector<std::string>& before = state.inputs.classes;
  const std::vector<std::string> classes =
      list_from_json(list_to_json(now.classes), path.string());  // as stored
  if (before.empty()) {
    unknown.emplace_back("names of classes");
  } else if (before.size() != classes.size()) {
    refuse(fmt::format("there were {} classes, now there are {}", before.size(), classes.size()));
  } else if (before != classes) {
    const auto [then, today] = std::ranges::mismatch(before, classes);
    refuse(fmt::format("class {} was '{}', now it is '{}'", then - before.begin(), *then, *today));
  }
  for (const auto& [what, hash] : now.hashes) {
    const auto found = state.inputs.hashes.find(what);
    if (found == state.inputs.hashes.end())
      unknown.push_back(what);
    else if (found->second != hash)
      refuse(fmt::format("the {} are not the ones that the run began with{}", what,
                         what.ends_with("images") ? ", or another JPEG library decodes them" : ""));
  }
  std::vector<std::string> notes;
  if (!unknown.empty())
    notes.push_back(fmt::format("{} is older than the record of these, which could not be compared: {}",
                                path.string(), fmt::join(unknown, ", ")));
  if (state.inputs.threads > 0 && state.inputs.threads != now.threads)
    notes.push_back(fmt::format(
        "the number of computing threads was {} so far and is {} from here on: sums are taken in another "
        "order, so the last bits differ from those of a run by {} alone",
        state.inputs.threads, now.threads, state.inputs.threads));
  if (state.inputs.slices != now.slices)
    notes.push_back(
        fmt::format("each batch was taken in {} so far and is taken in {} from here on "
                    "(--micro_batches): batch norm takes its "
                    "statistics over slices, and sums are taken in another order",
                    counted(state.inputs.slices, "slice"), now.slices));
  return notes;
}

}  // namespace generous

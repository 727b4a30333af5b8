#include "apps/training/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/tensorboard/event_file.h"
#include "apps/training/weights.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

/// Whether a run leaves files of this name: this program's without a state, or the paper's program's and
/// other PyTorch programs'.
bool is_of_a_run(const fs::path& name) {
  for (const char* extension : {".tar", ".pth", ".pt", ".ckpt"})
    if (name.extension() == extension) return true;
  for (const char* whole : {"training.log", "metrics.csv", "steps.csv"})
    if (name == whole) return true;
  return name.string().starts_with(event_file_prefix);
}

/// The files of a run that this program did not write, or of which its state was removed.
std::vector<std::string> foreign_files(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (is_of_a_run(entry->path().filename())) names.push_back(entry->path().filename().string());
  if (error) fail("cannot list the folder {}: {}", folder.string(), error.message());
  std::ranges::sort(names);
  return names;
}

/// The paper's files may have true for 1.
json as_number(const json& value) { return value.is_boolean() ? json(value.get<bool>() ? 1 : 0) : value; }

}  // namespace

void RunSettings::declare(Options& options) {
  options.group("run");
  options.add(
      "save_path", save_path,
      {.help = "the run's folder; its params.json is read if there", .role = Role::call, .required = true});
  options.add("resume", resume,
              {.help = "go on where the run in --save_path stopped",
               .advice = "it goes on with the run in --save_path; weights to start from are given by --init",
               .role = Role::call});
  if (!save_path.empty()) options.params(RunFolder{save_path}.params());
}

std::optional<TrainingState> saved_state(const RunSettings& run, const std::vector<SettingValue>& settings,
                                         const std::string& dataset) {
  const RunFolder folder{run.save_path};
  const bool has_state = file_exists(folder.training_state());
  if (run.resume) {
    if (!has_state)
      fail("nothing to resume: there is no {}; start the run without --resume",
           folder.training_state().string());
    TrainingState state = read_training_state(folder.training_state());
    check_same_settings(settings, state, folder.training_state());
    check_class_numbering(dataset, !state.inputs.classes.empty(), folder.training_state().string());
    return state;
  }
  bool holds_run = file_exists(folder.last_model()) || file_exists(folder.best_model());
  if (!holds_run && has_state)  // a run that ended before its first save holds nothing yet
    holds_run = read_training_state(folder.training_state()).position.step > 0;
  require(!holds_run, "{} already holds a run: go on with it by --resume, or choose another --save_path",
          folder.path.string());
  if (has_state) return std::nullopt;
  if (const auto files = foreign_files(folder.path); !files.empty())
    fail(
        "{} holds a run that this program cannot go on with and would overwrite ({}): choose another "
        "--save_path "
        "and copy params.json alone into it",
        folder.path.string(), fmt::join(files, ", "));
  return std::nullopt;
}

std::vector<std::string> changes_of_params(const fs::path& params,
                                           const std::vector<SettingValue>& settings) {
  if (!file_exists(params)) return {};
  const json before = parse_json_strictly(read_file(params), params.string());
  std::vector<std::string> changes;
  for (const SettingValue& setting : settings) {
    const auto found = before.find(setting.key);
    if (found != before.end() && as_number(*found) != json::parse(setting.json))
      changes.push_back(fmt::format("{} from {} to {}", setting.key, json_excerpt(*found), setting.json));
  }
  return changes;
}

}  // namespace generous

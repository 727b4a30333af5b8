#include "apps/training/weight_finder.h"

#include <fmt/format.h>

#include <vector>

#include "core/command.h"
#include "core/error.h"
#include "core/files.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

/// The part of `path` before its last component named "experiments", or nothing.
fs::path folder_with_experiments(const fs::path& path) {
  std::error_code ignored;  // without a current folder there is no folder to find either
  const fs::path whole = fs::absolute(path, ignored).lexically_normal();
  fs::path so_far;
  fs::path found;
  for (const fs::path& part : whole) {
    if (part == "experiments") found = so_far;
    so_far /= part;
  }
  return found;
}

/// The weights of the run in a folder, if there are any.
std::optional<FoundWeights> find_in_run(const fs::path& run) {
  for (const char* name : {"best_model", "last_model"})
    for (const char* extension : {".safetensors", ".tar"})
      if (const fs::path file = run / (std::string(name) + extension); file_exists(file)) {
        const bool last = std::string_view(name) == "last_model";
        return FoundWeights{file,
                            last ? fmt::format("{} has no best_model, as it was ended before an epoch was "
                                               "measured: its last_model is taken",
                                               run.string())
                                 : std::string()};
      }
  return {};
}

}  // namespace

std::optional<FoundWeights> WeightFinder::look(const std::string& path) const {
  if (path.empty()) return {};
  try {
    return find("", path);
  } catch (const Error&) {
    return {};
  }
}

FoundWeights WeightFinder::find(const std::string& key, const std::string& path) const {
  fs::path wanted = path;
  const bool archive = wanted.extension() == ".tar";
  if (archive) wanted.replace_extension(".safetensors");
  std::vector<fs::path> places = {wanted};
  if (wanted.is_relative())
    if (const fs::path base = folder_with_experiments(save_path); !base.empty())
      places.push_back(base / wanted);
  for (const fs::path& place : places) {
    if (archive)
      if (const fs::path tar = fs::path(place).replace_extension(".tar"); file_exists(tar)) return {tar, ""};
    if (!file_exists(place)) continue;
    if (!fs::is_directory(place)) return {place, ""};
    if (const auto found = find_in_run(place)) return *found;
    fail("{}: {} has no best_model.safetensors and no last_model.safetensors; train it first: {}", key,
         place.string(), train_command(place));
  }

  std::string message = fmt::format("{}: there is no file {}", key, places[0].string());
  if (places.size() > 1) message += fmt::format(" and no {}", places[1].string());
  const fs::path run = places.back().parent_path();
  const bool best = wanted.stem() == "best_model";
  if (const fs::path last = run / "last_model.safetensors"; best && file_exists(last))
    message += fmt::format(
        "; the run was ended before an epoch was measured, and its last weights are there: --{} {}", key,
        shell_word(last.string()));
  else if (best || wanted.stem() == "last_model")
    message += fmt::format("; train it first: {}", train_command(run));
  throw Error(message);
}

std::string WeightFinder::train_command(const fs::path& run) const {
  return fmt::format("{} --save_path {}", program_beside(program_of_run ? program_of_run(run) : ""),
                     shell_word(run.string()));
}

}  // namespace generous

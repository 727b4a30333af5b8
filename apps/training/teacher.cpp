#include "apps/training/teacher.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/finite.h"

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

/// The program that trains the run in this folder, as far as its params.json tells.
std::string program_for(const fs::path& run) {
  const fs::path params = run / "params.json";
  const bool generous =
      file_exists(params) && read_file(params).find("\"adversarial_model\"") != std::string::npos;
  return generous ? "train_generous" : "train_standard";
}

}  // namespace

fs::path find_checkpoint(const std::string& key, const std::string& path, const std::string& save_path) {
  fs::path wanted = path;
  if (wanted.extension() == ".tar") wanted.replace_extension(".safetensors");
  std::vector<fs::path> places = {wanted};
  if (wanted.is_relative())
    if (const fs::path base = folder_with_experiments(save_path); !base.empty())
      places.push_back(base / wanted);
  for (const fs::path& place : places)
    if (file_exists(place)) return place;

  std::string message = fmt::format("{}: there is no file {}", key, places[0].string());
  if (places.size() > 1) message += fmt::format(" and no {}", places[1].string());
  const fs::path run = places.back().parent_path();
  if (wanted.stem() == "best_model" || wanted.stem() == "last_model")
    message += fmt::format("; train it first: {} --save_path {}", program_for(run), run.string());
  throw Error(message);
}

Teacher load_teacher(const TeacherChoice& choice, ModelOptions options,
                     const std::vector<std::string>& classes) {
  const fs::path file = find_checkpoint(choice.key, choice.path, choice.save_path);
  options.settings.erase("dropout_rate");  // no influence in evaluation mode
  Teacher teacher{.model = make_model(choice.model_name, options), .weights = {}};
  teacher.weights = load_weights(*teacher.model, file, classes);
  teacher.model->freeze();
  return teacher;
}

TeacherFault fault_of_teacher(const Tensor& logits) {
  const Tensor on_host = cast(logits, DType::f32).to(Device::cpu);
  if (const auto bad = first_not_finite(on_host))
    return {.what = fmt::format("gives {} for class {} of image {} of this batch", bad->value, bad->index[1],
                                bad->index[0]),
            .fatal = true};
  const auto classes = static_cast<std::size_t>(on_host.size(1));
  for (std::span<const float> rest = on_host.data<float>(); !rest.empty(); rest = rest.subspan(classes)) {
    const auto [smallest, largest] = std::ranges::minmax(rest.first(classes));
    if (smallest != largest) return {};
  }
  return {.what =
              fmt::format("gives the same logit for every class (sigma is 0) in all {} images of this batch",
                          on_host.size(0))};
}

}  // namespace generous

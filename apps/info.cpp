// Says what a file or a folder is: weights, a training state, a run, a checkpoint of PyTorch, a dataset's
// cache, a picture.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/training/checkpoint.h"
#include "apps/training/fitting_models.h"
#include "apps/training/program.h"
#include "apps/training/weights.h"
#include "core/console.h"
#include "core/counted.h"
#include "core/error.h"
#include "core/files.h"
#include "core/finite.h"
#include "core/io/torch_checkpoint.h"
#include "core/json.h"
#include "data/decoded_cache.h"
#include "data/image_file.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

/// A line "name  value"; nothing for an empty value.
void print_fact(std::string_view name, const std::string& value) {
  if (!value.empty()) print_line(fmt::format("{:<14} {}", name, value));
}

std::string percent(const std::optional<double>& value, std::string_view of) {
  return value ? fmt::format("{:.2f} % of the {}", *value, of) : std::string();
}

std::string shown_classes(const std::vector<std::string>& classes) {
  constexpr std::size_t most = 10;
  if (classes.empty()) return {};
  const std::span<const std::string> some = std::span(classes).first(std::min(most, classes.size()));
  return fmt::format("{}: {}{}", classes.size(), fmt::join(some, ", "), classes.size() > most ? ", ..." : "");
}

std::string shown_image(const Shape& image) {
  return image.rank() == 3 ? fmt::format("{} x {} x {}", image[0], image[1], image[2]) : std::string();
}

void print_tensors(const NamedTensors& tensors) {
  std::int64_t numbers = 0;
  for (const auto& [name, tensor] : tensors) numbers += tensor.numel();
  print_fact("tensors", counted(std::ssize(tensors), "tensor") + ", " + counted(numbers, "number"));
  if (!tensors.empty())
    print_fact("first",
               fmt::format("{} {} {}", tensors.front().first, name_of(tensors.front().second.dtype()),
                           tensors.front().second.shape().str()));
  if (!tensors.empty())
    print_fact("last", fmt::format("{} {} {}", tensors.back().first, name_of(tensors.back().second.dtype()),
                                   tensors.back().second.shape().str()));
  for (const auto& [name, tensor] : tensors)
    if (const auto bad = first_not_finite(tensor))
      print_fact("damaged", fmt::format("{} has {}", name, bad->str()));
}

void print_origin(const WeightsOrigin& origin) {
  print_fact("model", origin.model_name);
  if (!origin.model_settings.empty())
    print_fact("settings", nlohmann::json::parse(origin.model_settings, nullptr, false).dump());
  print_fact("head", origin.head);
  print_fact("dataset", origin.dataset);
  print_fact("classes", shown_classes(origin.classes));
  print_fact("images", shown_image(origin.image));
  print_fact("normalisation", origin.normalisation);
  std::string from = origin.program;
  if (!origin.method.empty() && origin.method != "none") from += ", method " + origin.method;
  if (!origin.teacher.empty()) from += ", teacher " + origin.teacher;
  if (origin.epoch > 0) from += fmt::format(", epoch {}", origin.epoch);
  print_fact("from", from);
  print_fact("top-1", percent(origin.top1, "test images"));
  print_fact("validation", percent(origin.validation_top1, "images held out"));
}

void print_state(const TrainingState& state) {
  const Position& position = state.position;
  const nlohmann::json config = nlohmann::json::parse(state.config, nullptr, false);
  const auto setting = [&](const char* key) {
    const auto found = config.is_object() ? config.find(key) : config.end();
    if (found == config.end()) return std::string();
    return found->is_string() ? found->get<std::string>() : found->dump();
  };
  print_fact("model", setting("model_name"));
  print_fact("method", setting("method"));
  print_fact("teacher", setting("teacher_model") + setting("adversarial_model"));
  print_fact("dataset", setting("dataset"));
  print_fact("classes", shown_classes(state.inputs.classes));
  print_fact("images", fmt::format("{} to train on", state.train_images));
  print_fact("epochs", fmt::format("{} of {} done, {} more, {} in all", position.epoch, setting("num_epochs"),
                                   counted(position.step_in_epoch, "step"), counted(position.step, "step")));
  if (position.best.epoch > 0)
    print_fact("best",
               fmt::format("top-1 {:.2f} % in epoch {}", position.best.accuracy, position.best.epoch));
}

void print_run(const RunFolder& run) {
  print_line(fmt::format("{}: the folder of a run", run.path.string()));
  if (file_exists(run.training_state())) print_state(read_training_state(run.training_state()));
  for (const fs::path& weights :
       {run.best_model(), run.last_model(), run.ema_best_model(), run.ema_last_model()}) {
    if (!file_exists(weights)) continue;
    const WeightsOrigin origin = read_origin(weights);
    print_fact("weights", fmt::format("{}{}{}", weights.filename().string(),
                                      origin.epoch > 0 ? fmt::format(", epoch {}", origin.epoch) : "",
                                      origin.top1 ? fmt::format(", top-1 {:.2f} %", *origin.top1) : ""));
  }
}

void print_folder(const fs::path& path) {
  const RunFolder run{path};
  for (const fs::path& file : {run.params(), run.training_state(), run.last_model(), run.best_model()})
    if (file_exists(file)) return print_run(run);
  fail("{}: a folder without params.json and weights: no run", path.string());
}

/// The first line of a cache says what is in it.
void print_cache(const fs::path& path, const std::string& content) {
  print_line(fmt::format("{}: a dataset's decoded images, which may be removed at any time", path.string()));
  print_fact("of", content.substr(0, content.find('\n')));
}

void print_picture(const fs::path& path, const std::string& content) {
  const std::string_view format = image_format(content);
  if (format != "JPEG" && format != "PNG")
    return print_line(fmt::format("{}: a picture, {}, which is not read", path.string(), format));
  const ImageSize size = encoded_image_size(content, path);
  print_line(
      fmt::format("{}: a picture, {}, {} x {} pixels", path.string(), format, size.height, size.width));
}

void print_safetensors(const fs::path& path, const std::string& content) {
  const SafetensorsFile file = parse_safetensors(content, path.string());
  if (file.metadata.contains("config") && file.metadata.contains("step_in_epoch")) {
    print_line(fmt::format("{}: a training state, from which --resume goes on", path.string()));
    return print_state(parse_training_state(content, path));
  }
  const WeightsOrigin origin = parse_origin(file.metadata, path.string());
  print_line(fmt::format("{}: {} (safetensors)", path.string(),
                         origin.model_name.empty() ? "tensors" : "weights of " + origin.model_name));
  print_origin(origin);
  if (origin.model_name.empty())
    print_fact("fits", fmt::format("{}", fmt::join(models_that_fit(file.tensors), ", ")));
  print_tensors(file.tensors);
}

void print_file(const fs::path& path) {
  const std::string content = read_file(path);
  if (is_torch_checkpoint(content)) {
    print_line(fmt::format("{}: a checkpoint of PyTorch", path.string()));
    const NamedTensors tensors = parse_torch_checkpoint(content, path.string());
    print_fact("fits", fmt::format("{}", fmt::join(models_that_fit(tensors), ", ")));
    return print_tensors(tensors);
  }
  if (is_decoded_cache(content)) return print_cache(path, content);
  if (!image_format(content).empty()) return print_picture(path, content);
  if (path.extension() == ".json") {
    const nlohmann::json json = parse_json_strictly(content, path.string());
    return print_line(fmt::format("{}: JSON, {}", path.string(), json_excerpt(json)));
  }
  print_safetensors(path, content);
}

int info(Options& options) {
  std::string path;
  options.group("file");
  options.add("path", path, {.help = "a file, or the folder of a run", .positional = true, .required = true});
  if (!options.finish()) return 0;
  require(file_exists(path), "{}: no such file or folder", path);
  if (fs::is_directory(path))
    print_folder(path);
  else
    print_file(path);
  return 0;
}

}  // namespace
}  // namespace generous

int main(int argc, char** argv) { return generous::run_program("info", argc, argv, generous::info); }

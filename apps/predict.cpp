// What a trained network says about pictures, or about images from a file of tensors.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "apps/evaluation/pictures.h"
#include "apps/stages.h"
#include "apps/training/device.h"
#include "apps/training/evaluation.h"
#include "apps/training/program.h"
#include "apps/training/trained_network.h"
#include "core/console.h"
#include "core/counted.h"
#include "core/finite.h"
#include "core/safetensors.h"
#include "core/waiting.h"
#include "data/image_file.h"
#include "nn/state_dict.h"

namespace {

using namespace generous;
namespace fs = std::filesystem;

constexpr std::size_t shown_classes = 5;

/// The tensor `input` {N, C, H, W} of the file as {N, H, W, C}.
Tensor read_images(const std::string& path) {
  std::string names;
  for (const auto& [name, tensor] : read_safetensors(path).tensors) {
    names += (names.empty() ? "" : ", ") + name;
    if (name != "input") continue;
    require(tensor.dtype() == DType::f32 && tensor.shape().rank() == 4 && tensor.numel() > 0,
            "{}: 'input' is {} {}, expected f32 {{N, C, H, W}} with at least one image", path,
            name_of(tensor.dtype()), tensor.shape().str());
    if (const auto bad = first_not_finite(tensor))
      fail("{}: 'input' has {} of {}", path, bad->str(), tensor.shape().str());
    return nchw_to_nhwc(tensor);
  }
  fail("{}: there is no tensor 'input', only: {}", path, names.empty() ? "none" : names);
}

/// images[first, first + count) as a tensor of its own.
Tensor slice(const Tensor& images, std::int64_t first, std::int64_t count) {
  const auto size = static_cast<std::size_t>(images.numel() / images.size(0));
  const std::span<const float> all = images.data<float>();
  return Tensor::from(
      all.subspan(static_cast<std::size_t>(first) * size, static_cast<std::size_t>(count) * size),
      {count, images.size(1), images.size(2), images.size(3)});
}

/// Whether a path is a folder or, by its first bytes, a picture.
bool is_of_pictures(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return true;
  if (!fs::is_regular_file(path, error)) return false;
  std::string begin(16, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  begin.resize(static_cast<std::size_t>(file.gcount()));
  return !image_format(begin).empty();
}

struct Settings {
  ModelSettings model;
  PaperModelSettings paper_model;
  std::int64_t classes = 0;
  GivenWeights weights;
  std::string input;
  std::vector<std::string> pictures;
  std::int64_t image_size = 0;
  std::string normalisation;
  std::string output;
  DeviceSettings device;
  DTypeSettings dtype;

  void declare(Options& options) {
    options.group("model");
    weights.declare(options, {{}, [](const auto& run) { return program_of_run(stages, run); }});
    const WeightsOrigin& held = weights.origin;
    model.declare(options, {.name = "model_name", .help = "the network", .weights = weights.found.path},
                  held);
    classes = std::ssize(held.classes);
    options.add("classes", classes,
                {.help = "how many classes there are", .min = 2, .max = 1e6, .required = classes == 0});
    paper_model.declare(options);
    options.group("data");
    options.add("pictures", pictures,
                {.help = "pictures (JPEG, PNG) and folders of them, for the words behind the weights",
                 .positional = true});
    options.add("input", input,
                {.help = "the same, one; or a file with the tensor `input`: f32 {N, C, H, W}, normalised "
                         "(.safetensors)"});
    options.add("image_size", image_size,
                {.help = "pictures are made to fit this height and width; 0: those of the training",
                 .min = 0,
                 .max = 4096});
    options.add("normalisation", normalisation,
                {.help = "how pictures are normalised, where the weights do not say it",
                 .form = "means/standard deviations by channel such as 0.5,0.5,0.5/0.25,0.25,0.25",
                 .fits = [](const std::string& text) { return parse_normalisation(text).has_value(); }});
    options.add("output", output,
                {.help = "file for the tensor `logits` {N, classes} (.safetensors), in place of words"});
    device.declare(options);
    dtype.declare(options);
    tell_models_apart(options);
  }

  /// How pictures are normalised: as the weights say, or else as asked for.
  Normalisation normalise(const std::string& trained) const {
    const std::string& text = trained.empty() ? normalisation : trained;
    const auto parsed = parse_normalisation(text);
    if (!parsed)
      throw UsageError(
          fmt::format("{} does not say how its images were normalised: give --normalisation, such as "
                      "0.5,0.5,0.5/0.25,0.25,0.25",
                      weights.given));
    return parsed->values;
  }
};

/// What is predicted for: pictures, or images from a file of tensors.
struct Images {
  std::vector<fs::path> pictures;
  Tensor tensors;  ///< {N, H, W, C}, where there are no pictures
  Shape image;     ///< {H, W, C}

  std::int64_t size() const { return pictures.empty() ? tensors.size(0) : std::ssize(pictures); }
  Tensor part(std::int64_t first, std::int64_t count, const Normalisation& normalisation) const {
    if (pictures.empty()) return slice(tensors, first, count);
    return read_pictures(
        std::span(pictures).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), image,
        normalisation);
  }
  std::string name(std::size_t index) const {
    return pictures.empty() ? fmt::format("image {}", index) : pictures[index].string();
  }
};

Images find_images(const Settings& settings) {
  std::vector<std::string> paths = settings.pictures;
  const bool of_tensors = !settings.input.empty() && !is_of_pictures(settings.input);
  if (!settings.input.empty() && !of_tensors) paths.push_back(settings.input);
  if (of_tensors && !paths.empty())
    throw UsageError(
        fmt::format("--input {} is a file of tensors: give it alone, without pictures", settings.input));
  if (!of_tensors && paths.empty())
    throw UsageError("nothing to predict for: name pictures or folders of them, or give --input");
  if (!of_tensors)
    return {.pictures = list_pictures(paths),
            .tensors = {},
            .image = image_of(settings.weights, settings.image_size)};
  const Tensor images = read_images(settings.input);
  return {.pictures = {}, .tensors = images, .image = {images.size(1), images.size(2), images.size(3)}};
}

int predict(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  const PoliteWaiting waiting;
  if (!settings.output.empty()) {
    require_other_file(settings.output, "input", settings.input);
    require_other_file(settings.output, "weights", settings.weights.found.path);
    for (const std::string& picture : settings.pictures)
      require_other_file(settings.output, "pictures", picture);
  }
  const Device device = set_up_device(settings.device, *group_of_one());
  const DType dtype = choose_dtype(settings.dtype.dtype, device);
  const Images images = find_images(settings);
  const auto [model, loaded, trained] =
      load_network(settings.model, {.classes = settings.classes, .image = images.image, .device = device},
                   settings.weights.found.path, {});
  model->freeze();
  const Normalisation normalisation = images.pictures.empty() ? Normalisation{} : settings.normalise(trained);
  for (const std::string& note : {settings.weights.found.note, loaded.note})
    if (!note.empty()) print_error(fmt::format("note: {}", note));

  const NoGrad no_grad;
  Tensor logits = Tensor::empty({images.size(), settings.classes});
  const std::span<float> all = logits.data<float>();
  const auto classes = static_cast<std::size_t>(settings.classes);
  for (std::int64_t first = 0; first < images.size(); first += evaluation_batch) {
    const std::int64_t count = std::min(evaluation_batch, images.size() - first);
    const Tensor batch = images.part(first, count, normalisation);
    const Tensor part = (*model)(cast(batch.to(device), dtype)).to(Device::cpu);
    std::ranges::copy(part.data<float>(), all.begin() + first * settings.classes);
  }
  if (const auto bad = first_not_finite(logits))
    fail("{}: the logits have {} of {}; nothing is written", settings.weights.given, bad->str(),
         logits.shape().str());
  if (settings.output.empty()) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(images.size()); ++i)
      print_line(fmt::format(
          "{}  {}", images.name(i),
          words_of(all.subspan(i * classes, classes), settings.weights.origin.classes, shown_classes)));
    return 0;
  }
  write_safetensors(settings.output, {{"logits", logits}});
  print_line(fmt::format("{}: logits of {}, {}", settings.output, counted(images.size(), "image"),
                         counted(settings.classes, "class")));
  if (!trained.empty())
    print_line(fmt::format("{}: for images normalised by {} (means/standard deviations)",
                           settings.weights.given, trained));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program("predict", argc, argv, predict); }

// Writes a trained network as a file of ONNX, which other programs run.
#include <fmt/format.h>

#include "apps/onnx/onnx_model.h"
#include "apps/stages.h"
#include "apps/training/program.h"
#include "apps/training/trained_network.h"
#include "core/console.h"
#include "core/files.h"
#include "data/normalisation.h"

namespace {

using namespace generous;

struct Settings {
  ModelSettings model;
  PaperModelSettings paper_model;
  std::int64_t classes = 0;
  GivenWeights weights;
  std::int64_t image_size = 0;
  std::string normalisation;
  std::string output;
  bool frozen = true;
  bool features = false;

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
    options.group("file");
    options.add("output", output, {.help = "file for the network (.onnx)", .required = true});
    options.add(
        "frozen", frozen,
        {.help = "batch norms folded into the convolutions before them; 0: apart, and every weight as "
                 "PyTorch has it"});
    options.add("features", features, {.help = "also show the stages and the pooled features as outputs"});
    options.add("image_size", image_size,
                {.help = "height and width of the images; 0: those of the training", .min = 0, .max = 4096});
    options.add(
        "normalisation", normalisation,
        {.help = "how the images were normalised, where the weights do not say it: goes into the file",
         .form = "means/standard deviations by channel such as 0.5,0.5,0.5/0.25,0.25,0.25",
         .fits = [](const std::string& text) { return parse_normalisation(text).has_value(); }});
    tell_models_apart(options);
  }
};

/// All that is known of the network, by the names that weight files have for it, and the numbers that its
/// images are normalised by.
std::map<std::string, std::string> metadata_for(const WeightsOrigin& origin) {
  std::map<std::string, std::string> metadata = metadata_of(origin);
  if (origin.dataset.empty()) metadata.erase("dataset");
  if (origin.classes.empty()) metadata.erase("classes");
  const std::string& numbers = origin.normalisation;
  if (const std::size_t slash = numbers.find('/'); slash != std::string::npos) {
    metadata["mean"] = numbers.substr(0, slash);
    metadata["std"] = numbers.substr(slash + 1);
  }
  return metadata;
}

/// What has to be done to pictures, for people.
std::string words_about_images(const WeightsOrigin& origin) {
  const Shape& image = origin.image;
  std::string text =
      fmt::format("images f32 {{batch, {}, {}, {}}}: channel, row, column; ", image[2], image[0], image[1]);
  if (image[2] == 3) text += "red, green, blue; ";
  if (origin.normalisation.empty()) return text + "normalised as in training";
  return text + fmt::format(
                    "normalised: (byte / 255 - mean) / standard deviation of each channel, by {} "
                    "(means/standard deviations)",
                    origin.normalisation);
}

int export_onnx(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  require_other_file(settings.output, "weights", settings.weights.found.path);
  const Shape image = image_of(settings.weights, settings.image_size);
  const auto [network, loaded, trained] = load_network(
      settings.model, {.classes = settings.classes, .image = image}, settings.weights.found.path, {});
  network->eval();
  if (settings.frozen) network->freeze();
  for (const std::string& note : {settings.weights.found.note, loaded.note})
    if (!note.empty()) print_error(fmt::format("note: {}", note));

  WeightsOrigin origin = settings.weights.origin;
  origin.model_name = settings.model.name;
  origin.model_settings = settings.model.own_settings();
  origin.image = image;
  origin.normalisation = trained.empty() ? settings.normalisation : trained;
  OnnxOptions onnx{.image = image, .features = settings.features};
  onnx.metadata = metadata_for(origin);
  onnx.input = words_about_images(origin);
  onnx.metadata["input"] = onnx.input;
  onnx.description = fmt::format("{}, {} classes{}{}", origin.model_name, settings.classes,
                                 origin.dataset.empty() ? "" : " of " + origin.dataset,
                                 settings.frozen ? ", batch norm folded" : "");
  write_file_atomically(settings.output, onnx_model(*network, onnx));
  print_line(fmt::format("{}: {}, images {{batch, {}, {}, {}}}", settings.output, onnx.description, image[2],
                         image[0], image[1]));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program("export_onnx", argc, argv, export_onnx); }

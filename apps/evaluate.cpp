// Measures a model's loss and accuracy on one split of a dataset.
#include <fmt/format.h>

#include <cmath>

#include "apps/stages.h"
#include "apps/training/batches.h"
#include "apps/training/device.h"
#include "apps/training/evaluation.h"
#include "apps/training/images.h"
#include "apps/training/log.h"
#include "apps/training/program.h"
#include "apps/training/trained_network.h"
#include "core/console.h"

namespace {

using namespace generous;

struct Settings {
  ModelSettings model;
  PaperModelSettings paper_model;
  std::string weights;
  ImageSettings images{.normalisation = from_weights};
  std::string split = "test";
  BatchSettings batches{.batch_size = evaluation_batch};
  bool paper_metrics = false;
  DeviceSettings device;
  DTypeSettings dtype;

  void declare(Options& options) {
    options.group("model");
    model.declare(options, "model_name", "the network");
    options.add("weights", weights, {.help = "the network's weights (.safetensors)", .required = true});
    images.declare(options);
    options.add("split", split, {.help = "which images", .choices = {"test", "train"}});
    batches.declare(options, "images at a time");
    declare_paper_metrics(options, paper_metrics);
    paper_model.declare(options);
    device.declare(options);
    dtype.declare(options);
    tell_models_apart(options);
  }
};

int evaluate_weights(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  const Device device = set_up_device(settings.device);
  const DType dtype = choose_dtype(settings.dtype.dtype, device);
  const WeightFinder finder{{}, [](const auto& run) { return program_of_run(stages, run); }};
  const std::filesystem::path file = finder.find("weights", settings.weights);
  const Dataset dataset =
      load_images(settings.images, settings.split == "train" ? Split::train : Split::test);
  const std::int64_t channels = dataset.images.size(3);
  DatasetInfo info = settings.images.info(channels);
  WeightsOrigin wanted{.classes = dataset.classes};
  if (settings.images.normalisation != from_weights)
    wanted.normalisation = to_text(info.normalisation, channels);
  const auto [model, weights, learned] =
      load_network(settings.model, model_options(dataset, 0, device), file, wanted);
  if (const auto parsed = parse_normalisation(learned)) info.normalisation = parsed->values;
  model->freeze();

  Loader loader(dataset, info, settings.batches.loader_options(device));
  Display display;
  ProgressBar bar(display);
  const double start = now_seconds();
  const auto result = evaluate(*model, loader, dtype, [&](std::int64_t images) {
    bar.update(static_cast<double>(images) / static_cast<double>(dataset.size()), "evaluating");
    return true;
  });
  const double seconds = now_seconds() - start;
  bar.clear();
  display.flush();
  if (!result->not_finite.empty())
    fail("{}: no accuracy: a logit is {} ({}, counted from 0)", settings.weights, result->not_finite,
         settings.split);
  if (!std::isfinite(result->loss)) fail("{}: the loss is {}", settings.weights, result->loss);

  print_line(fmt::format("model    {} ({} parameters)", settings.model.name, model->parameter_count()));
  print_line(fmt::format("weights  {}", settings.weights));
  if (!weights.note.empty()) print_line(fmt::format("note     {}", weights.note));
  if (const std::string used = to_text(info.normalisation, channels);
      used != to_text(dataset_info(info.name).normalisation, channels))
    print_line(fmt::format("note     images normalised by {} (means/standard deviations)", used));
  print_line(fmt::format("dataset  {} {}, {}, {} classes", settings.images.dataset, settings.split,
                         settings.images.data_dir, dataset.classes.size()));
  print_line(fmt::format("device   {}, {}", backend(device).description(), settings.dtype.dtype));
  print_line(fmt::format("images   {}", result->images));
  print_line(fmt::format("loss     {:.6f}", result->loss));
  print_line(fmt::format("top-1    {:.4f} % ({} of {})", result->top1(), result->correct, result->images));
  if (settings.paper_metrics)
    print_line(
        fmt::format("paper    {:.4f} % (top-1 as the mean over batches of 128)", result->paper_accuracy));
  print_line(fmt::format("top-5    {:.4f} % ({} of {})", result->top5(), result->correct5, result->images));
  print_line(fmt::format("speed    {:.0f} images/s", static_cast<double>(result->images) / seconds));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program("evaluate", argc, argv, evaluate_weights); }

// Measures a model's loss and accuracy on one split of a dataset.
#include <fmt/format.h>

#include <cmath>

#include "apps/training/device.h"
#include "apps/training/evaluation.h"
#include "apps/training/images.h"
#include "apps/training/log.h"
#include "apps/training/program.h"
#include "apps/training/weights.h"
#include "core/console.h"

namespace {

using namespace generous;

int evaluate_weights(const Config& requested) {
  Config config = requested;
  const Device device = set_up_device(config);
  const DType dtype = choose_dtype(config.dtype, device);
  const Dataset dataset = load_images(config, config.split == "train" ? Split::train : Split::test);
  const auto model = make_model(config.model_name, model_options(config, dataset, device));
  const LoadedWeights weights = load_weights(*model, config.weights, dataset.classes);
  model->freeze();

  Loader loader(dataset, dataset_info(config.dataset),
                {.batch_size = config.batch_size,
                 .workers = static_cast<int>(config.num_workers),
                 .shuffle = false,
                 .augment = false,
                 .device = device});
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
    fail("{}: no accuracy: a logit is {} ({}, counted from 0)", config.weights, result->not_finite,
         config.split);
  if (!std::isfinite(result->loss)) fail("{}: the loss is {}", config.weights, result->loss);

  print_line(fmt::format("model    {} ({} parameters)", config.model_name, model->parameter_count()));
  print_line(fmt::format("weights  {}", config.weights));
  if (!weights.note.empty()) print_line(fmt::format("note     {}", weights.note));
  print_line(fmt::format("dataset  {} {}, {}, {} classes", config.dataset, config.split, config.data_dir,
                         dataset.classes.size()));
  print_line(fmt::format("device   {}, {}", backend(device).description(), config.dtype));
  print_line(fmt::format("images   {}", result->images));
  print_line(fmt::format("loss     {:.6f}", result->loss));
  print_line(fmt::format("top-1    {:.4f} % ({} of {})", result->top1(), result->correct, result->images));
  if (config.paper_metrics)
    print_line(
        fmt::format("paper    {:.4f} % (top-1 as the mean over batches of 128)", result->paper_accuracy));
  print_line(fmt::format("top-5    {:.4f} % ({} of {})", result->top5(), result->correct5, result->images));
  print_line(fmt::format("speed    {:.0f} images/s", static_cast<double>(result->images) / seconds));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program(Program::evaluate, argc, argv, evaluate_weights); }

// Measures a model's loss and accuracy on one split of a dataset.
#include <fmt/format.h>

#include "apps/training/device.h"
#include "apps/training/evaluation.h"
#include "apps/training/images.h"
#include "apps/training/log.h"
#include "apps/training/program.h"
#include "core/safetensors.h"
#include "nn/state_dict.h"

namespace {

using namespace generous;

int evaluate_weights(const Config& requested) {
  Config config = requested;
  const Device device = set_up_device(config);
  const DType dtype = choose_dtype(config.dtype, device);
  const NamedTensors weights = read_safetensors(config.weights).tensors;
  const Dataset dataset = load_images(config, config.split == "train" ? Split::train : Split::test);
  const auto model = make_model(config.model_name, model_options(config, dataset, device));
  load_state_dict(*model, weights, config.weights);
  model->freeze();

  Loader loader(dataset, dataset_info(config.dataset),
                {.batch_size = config.batch_size,
                 .workers = static_cast<int>(config.num_workers),
                 .shuffle = false,
                 .augment = false,
                 .device = device});
  ProgressBar bar;
  const double start = now_seconds();
  const auto result = evaluate(*model, loader, dtype, [&](std::int64_t images) {
    bar.update(static_cast<double>(images) / static_cast<double>(dataset.size()), "evaluating");
    return true;
  });
  const double seconds = now_seconds() - start;
  bar.clear();

  fmt::print("model    {} ({} parameters)\n", config.model_name, model->parameter_count());
  fmt::print("weights  {}\n", config.weights);
  fmt::print("dataset  {} {}, {}, {} classes\n", config.dataset, config.split, config.data_dir,
             dataset.classes.size());
  fmt::print("device   {}, {}\n", backend(device).description(), config.dtype);
  fmt::print("images   {}\n", result->images);
  fmt::print("loss     {:.6f}\n", result->loss);
  fmt::print("top-1    {:.4f} % ({} of {})\n", result->top1(), result->correct, result->images);
  fmt::print("top-5    {:.4f} % ({} of {})\n", result->top5(), result->correct5, result->images);
  fmt::print("speed    {:.0f} images/s\n", static_cast<double>(result->images) / seconds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program(Program::evaluate, argc, argv, evaluate_weights); }

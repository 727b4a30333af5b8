// Writes a model's logits for images from a file.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "apps/stages.h"
#include "apps/training/device.h"
#include "apps/training/evaluation.h"
#include "apps/training/program.h"
#include "apps/training/trained_network.h"
#include "core/console.h"
#include "core/finite.h"
#include "core/safetensors.h"
#include "core/waiting.h"
#include "nn/state_dict.h"

namespace {

using namespace generous;

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

struct Settings {
  ModelSettings model;
  PaperModelSettings paper_model;
  std::int64_t classes = 0;
  std::string weights;
  std::string input;
  std::string output;
  DeviceSettings device;
  DTypeSettings dtype;

  void declare(Options& options) {
    options.group("model");
    model.declare(options, "model_name", "the network");
    options.add("classes", classes,
                {.help = "how many classes there are", .min = 2, .max = 1e6, .required = true});
    options.add("weights", weights,
                {.help = "the network's weights (.safetensors, or what PyTorch saved)", .required = true});
    paper_model.declare(options);
    options.group("data");
    options.add("input", input,
                {.help = "file with the tensor `input`: f32 {N, C, H, W}, normalised (.safetensors)",
                 .required = true});
    options.add("output", output,
                {.help = "file for the tensor `logits` {N, classes} (.safetensors)", .required = true});
    device.declare(options);
    dtype.declare(options);
    tell_models_apart(options);
  }
};

int predict(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  const PoliteWaiting waiting;
  const WeightFinder finder{{}, [](const auto& run) { return program_of_run(stages, run); }};
  require_other_file(settings.output, "input", settings.input);
  const std::filesystem::path weights = finder.find("weights", settings.weights);
  require_other_file(settings.output, "weights", weights);
  const Device device = set_up_device(settings.device);
  const DType dtype = choose_dtype(settings.dtype.dtype, device);
  const Tensor images = read_images(settings.input);
  const auto [model, loaded, normalisation] =
      load_network(settings.model,
                   {.classes = settings.classes,
                    .image = {images.size(1), images.size(2), images.size(3)},
                    .device = device},
                   weights, {});
  model->freeze();

  const NoGrad no_grad;
  Tensor logits = Tensor::empty({images.size(0), settings.classes});
  auto out = logits.data<float>().begin();
  for (std::int64_t first = 0; first < images.size(0); first += evaluation_batch) {
    const std::int64_t count = std::min(evaluation_batch, images.size(0) - first);
    const Tensor part = (*model)(cast(slice(images, first, count).to(device), dtype)).to(Device::cpu);
    out = std::copy(part.data<float>().begin(), part.data<float>().end(), out);
  }
  if (const auto bad = first_not_finite(logits))
    fail("{}: the logits have {} of {}; nothing is written", settings.weights, bad->str(),
         logits.shape().str());
  write_safetensors(settings.output, {{"logits", logits}});
  print_line(
      fmt::format("{}: logits of {} images, {} classes", settings.output, images.size(0), settings.classes));
  if (!normalisation.empty())
    print_line(fmt::format("{}: for images normalised by {} (means/standard deviations)", settings.weights,
                           normalisation));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program("predict", argc, argv, predict); }

// Writes a model's logits for images from a file.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "apps/training/device.h"
#include "apps/training/evaluation.h"
#include "apps/training/program.h"
#include "core/console.h"
#include "core/finite.h"
#include "core/safetensors.h"
#include "nn/models/registry.h"
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

/// Throws UsageError if `output` is the same file as the one that `key` reads, by whatever path or link.
void require_other_file(const std::string& output, std::string_view key, const std::string& input) {
  std::error_code not_there;
  if (std::filesystem::equivalent(output, input, not_there))
    throw UsageError(
        fmt::format("--output {} is the file that --{} reads ({}): give another one", output, key, input));
}

int predict(const Config& config) {
  require_other_file(config.output, "input", config.input);
  require_other_file(config.output, "weights", config.weights);
  const Device device = set_up_device(config);
  const DType dtype = choose_dtype(config.dtype, device);
  const Tensor images = read_images(config.input);
  const auto model =
      make_model(config.model_name, {.classes = config.classes,
                                     .image = {images.size(1), images.size(2), images.size(3)},
                                     .settings = {{"num_channels", fmt::format("{}", config.num_channels)}},
                                     .device = device});
  const NamedTensors weights = read_safetensors(config.weights).tensors;
  require_finite(weights, config.weights);
  load_state_dict(*model, weights, config.weights);
  model->freeze();

  const NoGrad no_grad;
  Tensor logits = Tensor::empty({images.size(0), config.classes});
  auto out = logits.data<float>().begin();
  for (std::int64_t first = 0; first < images.size(0); first += evaluation_batch) {
    const std::int64_t count = std::min(evaluation_batch, images.size(0) - first);
    const Tensor part = (*model)(cast(slice(images, first, count).to(device), dtype)).to(Device::cpu);
    out = std::copy(part.data<float>().begin(), part.data<float>().end(), out);
  }
  if (const auto bad = first_not_finite(logits))
    fail("{}: the logits have {} of {}; nothing is written", config.weights, bad->str(),
         logits.shape().str());
  write_safetensors(config.output, {{"logits", logits}});
  print_line(
      fmt::format("{}: logits of {} images, {} classes", config.output, images.size(0), config.classes));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program(Program::predict, argc, argv, predict); }

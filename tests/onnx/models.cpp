// Writes networks as files of ONNX, and beside each what it computes of a few images: every model there is,
// grey and in colour, frozen and not, for check.py.
//   onnx_models FOLDER
// Before each network it waits for a line on its input; when the files are there, it prints their name.
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <iostream>
#include <numeric>

#include "apps/onnx/onnx_model.h"
#include "core/backend.h"
#include "core/safetensors.h"
#include "core/waiting.h"
#include "nn/models/registry.h"
#include "nn/reused_classifier.h"
#include "nn/state_dict.h"

namespace {

using namespace generous;

constexpr std::int64_t classes = 7;
constexpr std::int64_t batch = 3;

struct Case {
  std::string model;
  Shape image;  ///< {H, W, C}
  bool frozen = false;
  bool features = false;
  bool reused_classifier = false;
  std::map<std::string, std::string> settings = {};

  std::string name() const {
    return fmt::format("{}-{}x{}x{}{}{}{}", model, image[0], image[1], image[2], frozen ? "-frozen" : "",
                       features ? "-features" : "", reused_classifier ? "-simkd" : "");
  }
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::string& name : model_names()) {
    const std::string model = name == "wrn_D_K" ? "wrn_16_2" : name;
    cases.push_back({.model = model, .image = {32, 32, 3}});
    cases.push_back({.model = model, .image = {32, 32, 1}, .frozen = true, .features = true});
  }
  // Height and width that differ show where they are mixed up.
  cases.push_back({.model = "net", .image = {40, 24, 3}, .settings = {{"num_channels", "5"}}});
  cases.push_back({.model = "mlp", .image = {16, 24, 3}, .frozen = true});
  cases.push_back({.model = "wrn_10_1", .image = {64, 64, 3}, .features = true});
  cases.push_back({.model = "vgg8", .image = {64, 64, 1}, .features = true});
  cases.push_back({.model = "shufflev1", .image = {64, 48, 3}, .features = true});
  // Its last stage is {5, 6}: windows of unequal sizes, as the teacher's is {4, 4}.
  cases.push_back(
      {.model = "mobilenetv2", .image = {32, 40, 3}, .features = true, .reused_classifier = true});
  cases.push_back({.model = "resnet8", .image = {32, 64, 1}, .frozen = true, .reused_classifier = true});
  return cases;
}

/// Numbers from least to most, by the fastest generator that will do: the networks have a billion weights in
/// all.
void fill(std::span<float> numbers, float least, float most, std::uint64_t& seed) {
  for (float& number : numbers) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    number = least + (most - least) * static_cast<float>(seed >> 40U) * 0x1p-24F;
  }
}

Tensor uniform(const Shape& shape, float least, float most, std::uint64_t& seed) {
  Tensor tensor = Tensor::empty(shape);
  fill(tensor.data<float>(), least, most, seed);
  return tensor;
}

/// Images {N, H, W, C} that differ in more than noise, which a network averages out: each has a gain of its
/// own, and patches of 8 x 8 pixels a colour of their own.
Tensor draw_images(const Shape& shape, std::uint64_t& seed) {
  constexpr std::int64_t patch = 8;
  Tensor images = uniform(shape, -0.5F, 0.5F, seed);
  const std::span<float> pixels = images.data<float>();
  const Tensor colours =
      uniform({shape[0], shape[1] / patch + 1, shape[2] / patch + 1, shape[3]}, -2.0F, 2.0F, seed);
  const Tensor gains = uniform({shape[0]}, 0.2F, 3.0F, seed);
  std::size_t i = 0;
  for (std::int64_t n = 0; n < shape[0]; ++n)
    for (std::int64_t h = 0; h < shape[1]; ++h)
      for (std::int64_t w = 0; w < shape[2]; ++w)
        for (std::int64_t c = 0; c < shape[3]; ++c, ++i) {
          const std::int64_t place =
              ((n * colours.size(1) + h / patch) * colours.size(2) + w / patch) * shape[3] + c;
          pixels[i] = gains.data<float>()[static_cast<std::size_t>(n)] *
                      (pixels[i] + colours.data<float>()[static_cast<std::size_t>(place)]);
        }
  return images;
}

/// Weights that keep the size of what they are applied to, before a ReLU; vectors of all sizes.
void draw_weights(Network& network, std::uint64_t& seed) {
  for (StateEntry& entry : network.state()) {
    const Shape& shape = entry.tensor.shape();
    if (entry.tensor.dtype() != DType::f32) continue;
    const std::span<float> numbers = entry.tensor.data<float>();
    const float bound =
        shape.rank() == 1
            ? 0.5F
            : std::sqrt(6.0F * static_cast<float>(shape[0]) / static_cast<float>(shape.numel()));
    if (entry.name.find("running") != std::string::npos)
      std::ranges::fill(numbers, 0.0F);
    else if (shape.rank() == 1 && entry.name.ends_with("weight"))
      fill(numbers, 0.5F, 1.5F, seed);
    else
      fill(numbers, -bound, bound, seed);
  }
}

/// Running statistics near those of these images, so that the logits of a deep network still depend on its
/// images: one step of training moves them a tenth of the way from zero. Of so few images a channel may have
/// hardly any variance; a share of the other channels' keeps rounding errors as small as they are in trained
/// networks.
void draw_statistics(Network& network, const Tensor& images, std::uint64_t& seed) {
  network.train();
  network.forward(images, nullptr);
  for (StateEntry& entry : network.state()) {
    const bool variance = entry.name.ends_with("running_var");
    if (!variance && !entry.name.ends_with("running_mean")) continue;
    const std::span<float> numbers = entry.tensor.data<float>();
    const float mean = std::reduce(numbers.begin(), numbers.end()) / static_cast<float>(numbers.size());
    for (float& number : numbers) {
      float factor = 0.0F;
      fill({&factor, 1}, 7.0F, 13.0F, seed);
      number = factor * (variance ? number + 0.2F * mean : number);
    }
  }
  network.eval();
}

std::unique_ptr<Network> make(const Case& of, std::uint64_t& seed) {
  const std::unique_ptr<ModelFamily> family = find_family(of.model);
  Options settings(of.model);
  settings.defaults(of.settings);
  family->declare(settings);
  std::unique_ptr<Network> network = family->build({.classes = classes, .image = of.image});
  draw_weights(*network, seed);
  if (!of.reused_classifier) return network;
  Features features;
  network->eval();
  network->forward(Tensor::zeros({1, of.image[0], of.image[1], of.image[2]}), &features);
  network = std::make_unique<ReusedClassifier>(
      std::move(network),
      ReusedClassifierOptions{
          .in = features.stages.back().size(3), .channels = 22, .height = 4, .width = 4, .classes = classes});
  draw_weights(*network, seed);
  return network;
}

void write(const Case& of, const std::string& folder) {
  const NoGrad no_grad;
  std::uint64_t seed = 5;
  const std::unique_ptr<Network> network = make(of, seed);
  const Tensor images = draw_images({batch, of.image[0], of.image[1], of.image[2]}, seed);
  draw_statistics(*network, images, seed);
  if (of.frozen) network->freeze();
  const std::string path = folder + "/" + of.name();
  const std::string model = onnx_model(*network, {.image = of.image,
                                                  .features = of.features,
                                                  .description = of.name(),
                                                  .metadata = {{"case", of.name()}}});
  std::ofstream(path + ".onnx", std::ios::binary).write(model.data(), std::ssize(model));

  Features features;
  NamedTensors expected{{"images", nhwc_to_nchw(images)},
                        {"logits", network->forward(images, of.features ? &features : nullptr)}};
  for (std::size_t i = 0; i < features.stages.size(); ++i)
    expected.emplace_back(fmt::format("stage_{}", i), nhwc_to_nchw(features.stages[i]));
  if (features.pooled.defined()) expected.emplace_back("pooled", features.pooled);
  write_safetensors(path + ".safetensors", expected);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    backend(Device::cpu).choose_algorithms({.convolutions = ConvolutionChoice::direct});
    const PoliteWaiting waiting;
    std::string line;
    for (const Case& of : all_cases()) {
      if (!std::getline(std::cin, line)) return 1;
      write(of, argv[1]);
      std::cout << of.name() << std::endl;
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "onnx_models: " << error.what() << '\n';
    return 1;
  }
}

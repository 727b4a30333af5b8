#include "apps/training/trained_network.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "nn/reused_classifier.h"

namespace generous {

namespace {

using nlohmann::json;
using Count = std::int64_t ReusedClassifierOptions::*;

/// What a head's JSON holds, all but the number of classes.
constexpr std::array<std::pair<const char*, Count>, 5> counts{
    {{"in", &ReusedClassifierOptions::in},
     {"channels", &ReusedClassifierOptions::channels},
     {"factor", &ReusedClassifierOptions::factor},
     {"height", &ReusedClassifierOptions::height},
     {"width", &ReusedClassifierOptions::width}}};

constexpr std::int64_t largest_count = 65536;

ReusedClassifierOptions head_from(const std::string& text, std::int64_t classes, const std::string& source) {
  const json head = parse_json_strictly(text, source + ": head");
  ReusedClassifierOptions options{.classes = classes};
  for (const auto& [name, count] : counts) {
    const bool good = head.is_object() && head.contains(name) && head[name].is_number_integer() &&
                      head[name] >= 1 && head[name] <= largest_count;
    if (!good)
      fail("{}: head: expected {} from 1 to {}, found {}", source, name, largest_count, json_excerpt(head));
    options.*count = head[name].get<std::int64_t>();
  }
  require(options.factor <= options.channels, "{}: head: factor {} of {} channels", source, options.factor,
          options.channels);
  return options;
}

}  // namespace

std::string head_of(const Network& network) {
  const auto* reused = dynamic_cast<const ReusedClassifier*>(&network);
  if (reused == nullptr) return {};
  json head;
  for (const auto& [name, count] : counts) head[name] = reused->options().*count;
  return head.dump();
}

TrainedNetwork load_network(const ModelSettings& model, const ModelOptions& options,
                            const std::filesystem::path& file, WeightsOrigin wanted) {
  const WeightsFile weights = read_weights(file);
  std::unique_ptr<Network> network = model.make(options);
  if (!weights.origin.head.empty()) {
    network = std::make_unique<ReusedClassifier>(
        std::move(network), head_from(weights.origin.head, options.classes, file.string()));
    network->to(options.device);
  }
  wanted.model_name = model.name;
  wanted.image = options.image;
  LoadedWeights loaded = load_weights(*network, weights, wanted);
  return {std::move(network), std::move(loaded), normalisation_of(weights, options.image[2])};
}

void GivenWeights::declare(Options& options, const WeightFinder& finder) {
  options.add(
      "weights", given,
      {.help = "the network's weights (.safetensors, or what PyTorch saved), or the folder of its run",
       .positional = true,
       .required = true});
  if (given.empty() || options.asks_for_help()) return;
  found = finder.find("weights", given);
  origin = read_origin(found.path);
}

std::int64_t channels_of(const GivenWeights& weights) {
  if (weights.origin.image.rank() == 3) return weights.origin.image[2];
  for (const auto& [name, tensor] : read_weights(weights.found.path).content.tensors)
    if (tensor.shape().rank() == 4) return tensor.size(1);  // of the first convolution {K, C, R, S}
  return 0;
}

Shape image_of(const GivenWeights& weights, std::int64_t size) {
  if (size == 0 && weights.origin.image.rank() == 3) return weights.origin.image;
  if (size == 0)
    throw UsageError(
        fmt::format("{} does not say which images it was trained on: give --image_size", weights.given));
  const std::int64_t channels = channels_of(weights);
  return {size, size, channels == 0 ? 3 : channels};
}

}  // namespace generous

// Networks as their files of weights have them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/training/model.h"
#include "apps/training/weights.h"

namespace generous {

/// What a file of weights says of a network that is more than its model, as JSON: of a ReusedClassifier its
/// head; "" of others.
std::string head_of(const Network& network);

struct TrainedNetwork {
  std::unique_ptr<Network> network;
  LoadedWeights weights;
  std::string normalisation;  ///< of the images that it learned from; "" if nothing tells
};
/// The network whose weights are in a file: the model of these settings, with the head that the file tells
/// of. Classes and normalisation are to be those of `wanted`, where these are not empty. Throws Error like
/// ModelSettings::make and load_weights.
TrainedNetwork load_network(const ModelSettings& model, const ModelOptions& options,
                            const std::filesystem::path& file, WeightsOrigin wanted);

/// The weights that a program works on, given as its first word or by --weights.
struct GivenWeights {
  std::string given = {};     ///< a file, or the folder of a run
  FoundWeights found = {};    ///< where they are
  WeightsOrigin origin = {};  ///< what they say of themselves

  /// Finds them at once, unless --help is asked for, so that what is declared behind them has their values
  /// for its defaults. Throws Error like WeightFinder::find and read_origin.
  void declare(Options& options, const WeightFinder& finder);
};

/// The channels of the images that weights are for; 0 if nothing tells.
std::int64_t channels_of(const GivenWeights& weights);
/// {H, W, C} of a network's images: of this height and width, or, for 0, of those that it was trained on.
/// Where nothing tells the channels, there are three. Throws UsageError where nothing tells the size.
Shape image_of(const GivenWeights& weights, std::int64_t size);

}  // namespace generous

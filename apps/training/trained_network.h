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
};
/// The network whose weights are in a file: the model of these settings, with the head that the file tells
/// of. `classes`: what the outputs are to stand for. Throws Error like ModelSettings::make and load_weights.
TrainedNetwork load_network(const ModelSettings& model, const ModelOptions& options,
                            const std::filesystem::path& file, const std::vector<std::string>& classes);

}  // namespace generous

// Files of weights: written, read, and whether they fit what they are loaded for.
#pragma once

#include <filesystem>
#include <string>

#include "apps/training/weight_finder.h"
#include "apps/training/weights_origin.h"
#include "core/safetensors.h"
#include "nn/module.h"

namespace generous {

/// Throws Error for a file made before this dataset's classes were numbered as they are now.
void check_class_numbering(const std::string& dataset, bool has_class_names, const std::string& source);

/// A run's weights as a file that other programs read, PyTorch's included.
void write_weights(const std::filesystem::path& path, const NamedTensors& weights,
                   const WeightsOrigin& origin);

/// What is to be told of weights that were loaded.
struct LoadedWeights {
  std::string hash;  ///< of the tensors: names, shapes and values
  std::string note;  ///< about their classes and images; usually empty
};

/// A file of weights, read.
struct WeightsFile {
  std::string source;  ///< its path
  SafetensorsFile content;
  WeightsOrigin origin;
};
/// Reads safetensors and what torch.save wrote, whatever the file's name. Throws Error for a file that is
/// missing or damaged.
WeightsFile read_weights(const std::filesystem::path& path);
/// WeightsOrigin::normalisation, of images of so many channels. A file from before there was a choice has its
/// dataset's own.
std::string normalisation_of(const WeightsFile& file, std::int64_t channels);

/// Loads a file into the model of this name, whose outputs are to stand for `wanted.classes`, in this order.
/// Throws Error if it has another model's weights or some that are not finite, if its outputs stand for these
/// classes in another order, or if it was trained on images of other channels than `wanted.image`, or
/// normalised in another way than `wanted.normalisation`, unless these are empty. A file that this program
/// did not write says nothing of all this, and is taken as it is.
LoadedWeights load_weights(Module& model, const WeightsFile& file, const WeightsOrigin& wanted);

}  // namespace generous

// Files of weights: which network's and dataset's they are, which classes their outputs stand for, and
// whether they fit what they are loaded for.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "apps/training/config.h"
#include "core/safetensors.h"
#include "nn/module.h"

namespace generous {

/// Texts as an array of JSON; what is not UTF-8 in them is replaced.
std::string list_to_json(const std::vector<std::string>& texts);
/// The reverse. `source`, the file and the key, begins the message of the Error for anything else.
std::vector<std::string> list_from_json(const std::string& json, const std::string& source);

/// Throws Error for a file made before this dataset's classes were numbered as they are now.
void check_class_numbering(const std::string& dataset, bool has_class_names, const std::string& source);

/// A run's weights as a file that other programs read, PyTorch's included.
void write_weights(const std::filesystem::path& path, const NamedTensors& weights, const Config& config,
                   const std::vector<std::string>& classes);

/// What is to be told of weights that were loaded.
struct LoadedWeights {
  std::string hash;  ///< of the tensors: names, shapes and values
  std::string note;  ///< about their classes; usually empty
};

/// Loads a file into the model, whose outputs are to stand for `classes`, in this order. Throws Error if it
/// is missing or damaged, has another model's weights or some that are not finite, or if its outputs stand
/// for these classes in another order. A file that this program did not write says nothing of its classes,
/// and is taken as it is.
LoadedWeights load_weights(Module& model, const std::filesystem::path& path,
                           const std::vector<std::string>& classes);

}  // namespace generous

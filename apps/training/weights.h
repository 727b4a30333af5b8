// Files of weights: where they are, which network's and dataset's they are, which classes their outputs stand
// for, and whether they fit what they are loaded for.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "nn/module.h"

namespace generous {

/// Texts as an array of JSON; what is not UTF-8 in them is replaced.
std::string list_to_json(const std::vector<std::string>& texts);
/// The reverse. `source`, the file and the key, begins the message of the Error for anything else.
std::vector<std::string> list_from_json(const std::string& json, const std::string& source);

/// Throws Error for a file made before this dataset's classes were numbered as they are now.
void check_class_numbering(const std::string& dataset, bool has_class_names, const std::string& source);

/// Where the weights that a setting names are.
struct WeightFinder {
  std::filesystem::path save_path;  ///< of the run that asks; may be empty
  /// The program that trains the run in a folder, for the message when its weights are not there.
  std::function<std::string(const std::filesystem::path& run)> program_of_run;

  /// .tar, where there is none, stands for the .safetensors beside it; a relative path is looked up from the
  /// current folder, then from the folder that contains the `experiments/` in `save_path`. Throws Error that
  /// names the key, every place tried and, for a run's checkpoint, the program that makes it.
  std::filesystem::path find(const std::string& key, const std::string& path) const;
};

/// What a file of weights says of itself.
struct WeightsOrigin {
  std::string model_name = {};
  std::string dataset = {};
  std::vector<std::string> classes = {};  ///< by index; empty: not known
  std::string normalisation = {};         ///< of the images (data/normalisation.h); empty: not known
  std::string head = {};                  ///< head_of(network)
};

/// A run's weights as a file that other programs read, PyTorch's included.
void write_weights(const std::filesystem::path& path, const NamedTensors& weights,
                   const WeightsOrigin& origin);

/// What is to be told of weights that were loaded.
struct LoadedWeights {
  std::string hash;  ///< of the tensors: names, shapes and values
  std::string note;  ///< about their classes; usually empty
};

/// A file of weights, read.
struct WeightsFile {
  std::string source;  ///< its path
  SafetensorsFile content;
  std::string head;  ///< WeightsOrigin::head
};
/// Reads safetensors and what torch.save wrote, whatever the file's name. Throws Error for a file that is
/// missing or damaged.
WeightsFile read_weights(const std::filesystem::path& path);
/// WeightsOrigin::normalisation, of images of so many channels. A file from before there was a choice has its
/// dataset's own.
std::string normalisation_of(const WeightsFile& file, std::int64_t channels);

/// Loads a file into the model of this name, whose outputs are to stand for `wanted.classes`, in this order.
/// Throws Error if it has another model's weights or some that are not finite, if its outputs stand for these
/// classes in another order, or if it was trained on images normalised in another way than
/// `wanted.normalisation`, unless that is empty. A file that this program did not write says nothing of all
/// this, and is taken as it is.
LoadedWeights load_weights(Module& model, const WeightsFile& file, const WeightsOrigin& wanted);

}  // namespace generous

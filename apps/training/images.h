// The images that a program works on, and the model options that fit them.
#pragma once

#include <string>

#include "core/options.h"
#include "data/dataset.h"
#include "nn/models/registry.h"

namespace generous {

/// The normalisation that evaluates weights as they were trained.
inline constexpr const char* from_weights = "weights";

struct ImageSettings {
  std::string dataset = {};
  std::string data_dir = {};  ///< empty: the dataset's default folder
  /// "dataset", "field", or numbers; from_weights only where that is the default
  std::string normalisation = "dataset";

  void declare(Options& options);
  /// Of the dataset, for images of so many channels, normalised as asked for; from_weights leaves it the
  /// dataset's own. Throws Error for numbers of another number of channels.
  DatasetInfo info(std::int64_t channels) const;
};

/// Reads one split. Fills in the dataset's default folder if settings.data_dir is empty; throws UsageError if
/// there is none.
Dataset load_images(ImageSettings& settings, Split split);

/// {H, W, C} of one image.
Shape image_shape(const Dataset& dataset);

/// For a model on `device` with an output per class of `dataset`.
ModelOptions model_options(const Dataset& dataset, std::uint64_t seed, Device device);

}  // namespace generous

// The images that a program works on, and the model options that fit them.
#pragma once

#include <string>

#include "core/options.h"
#include "data/dataset.h"
#include "nn/models/registry.h"

namespace generous {

struct ImageSettings {
  std::string dataset;
  std::string data_dir;  ///< empty: the dataset's default folder

  void declare(Options& options);
};

/// Reads one split. Fills in the dataset's default folder if settings.data_dir is empty; throws UsageError if
/// there is none.
Dataset load_images(ImageSettings& settings, Split split);

/// {H, W, C} of one image.
Shape image_shape(const Dataset& dataset);

/// For a model on `device` with an output per class of `dataset`.
ModelOptions model_options(const Dataset& dataset, std::uint64_t seed, Device device);

}  // namespace generous

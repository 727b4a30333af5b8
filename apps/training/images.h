// The images that a configuration asks for, and the model options that fit them.
#pragma once

#include "apps/training/config.h"
#include "data/dataset.h"
#include "nn/models/registry.h"

namespace generous {

/// Reads one split of config.dataset. Fills in the dataset's default folder if config.data_dir is empty;
/// throws UsageError if there is none.
Dataset load_images(Config& config, Split split);

/// {H, W, C} of one image.
Shape image_shape(const Dataset& dataset);

/// For a model on `device` with an output per class of `dataset`.
ModelOptions model_options(const Config& config, const Dataset& dataset, Device device);

}  // namespace generous

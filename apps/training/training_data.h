// The images of a training.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "apps/training/batches.h"
#include "apps/training/images.h"

namespace generous {

/// Both splits of a dataset.
struct Data {
  const DatasetInfo& info;
  Dataset train;
  Dataset test;
};

/// Reads both. Fills in the default folder like load_images; throws Error if they do not fit together.
Data load_data(ImageSettings& settings);

/// Of images and labels, by what they are: for Inputs::hashes.
std::map<std::string, std::string> hashes_of(const Data& data);

/// Calls `use` with batches of the training images in their order, as they are evaluated.
void for_each_image(const Data& data, const TrainingBatchSettings& batches, Device device,
                    const std::function<void(const Batch&)>& use);

}  // namespace generous

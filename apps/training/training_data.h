// The images of a training.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "apps/training/batches.h"
#include "apps/training/images.h"

namespace generous {

/// What of a dataset's training images is trained on.
struct PartSettings {
  std::int64_t validation = 0;    ///< images that are held out
  double subset_percent = 100.0;  ///< of the others, in each class
  bool whole_by_paper = false;    ///< a file of the paper said 1.0, which there is a fraction and means all

  void declare(Options& options);
};

/// The images of a dataset. Indices of training images are those within `train`.
struct Data {
  DatasetInfo info;  ///< normalised as asked for
  Dataset train;
  std::optional<Dataset> validation;  ///< held out of the training images
  Dataset test;
};

/// Reads both splits; `seed` decides which images are held out and left out (data/subset.h). Fills in the
/// default folder like load_images; throws Error if the splits do not fit together, or if there are too few
/// images to hold so many out, or like ImageSettings::info. `so_far`: how a run that goes on normalises them,
/// where its settings leave that to the images; "dataset" for the dataset's published numbers, "" for a new
/// run.
Data load_data(ImageSettings& settings, const PartSettings& parts, std::uint64_t seed,
               const std::string& so_far = {});

/// How the images are normalised, as text.
std::string normalisation_of(const Data& data);

/// Of images and labels, by what they are: for Inputs::hashes.
std::map<std::string, std::string> hashes_of(const Data& data);

/// Calls `use` with batches of the training images in their order, as they are evaluated.
void for_each_image(const Data& data, const TrainingBatchSettings& batches, Device device,
                    const std::function<void(const Batch&)>& use);

}  // namespace generous

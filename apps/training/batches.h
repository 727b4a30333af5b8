// How images become batches, and whether a model can be trained on those.
#pragma once

#include <cstdint>
#include <vector>

#include "apps/training/model.h"
#include "core/options.h"
#include "data/loader.h"

namespace generous {

/// Batches of all images, in their order.
struct BatchSettings {
  std::int64_t batch_size = 128;
  std::int64_t num_workers = 4;

  void declare(Options& options, const std::string& help_of_batch_size);
  LoaderOptions loader_options(Device device) const;
};

/// Batches to train on.
struct TrainingBatchSettings : BatchSettings {
  bool augmentation = true;
  std::string crop_padding = "dataset";            ///< or pixels
  std::vector<std::int64_t> randaugment = {0, 0};  ///< operations, magnitude
  double random_erasing = 0.0;
  bool shuffle = true;
  bool drop_last = false;
  std::int64_t micro_batches = 1;

  void declare(Options& options);
  LoaderOptions loader_options(std::uint64_t seed, Device device) const;
  /// Pixels around images {H, W, C} before they are cropped: as given, or the dataset's in proportion. Throws
  /// Error where crops could miss the image.
  std::int64_t crop_pixels(const DatasetInfo& info, const Shape& image) const;
};

/// For a model built with these options, so many training images, and batches in so many slices. Throws
/// Error, with sizes that would do, if no batch is whole and smaller ones are dropped, if there are batches
/// with fewer images than slices, or if there are batches or slices of one image and the model cannot be
/// trained on one (batch norm takes statistics over what passes at once).
void check_batches(const TrainingBatchSettings& settings, const ModelSettings& model,
                   const ModelOptions& options, std::int64_t images, std::int64_t slices = 1);

}  // namespace generous

// The images that a program works on, and the model options that fit them.
#pragma once

#include <filesystem>
#include <string>

#include "apps/training/weights_origin.h"
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
  std::int64_t image_size =
      0;  ///< height and width that images are made to fit; 0: they have one of their own

  bool positional = false;  ///< the dataset may be given as a word without its flag

  void declare(Options& options);
  /// Defaults, before they are declared: the dataset that weights were trained on, and the folder that the
  /// run beside them had it from, where that is still there.
  void take_from(const WeightsOrigin& origin, const std::filesystem::path& weights);
  /// Of the dataset, for images of so many channels, normalised as asked for; from_weights leaves it the
  /// dataset's own. Throws Error for numbers of another number of channels.
  DatasetInfo info(std::int64_t channels) const;
  /// Whether they are to be normalised by the numbers of their own training images, which `info` does not
  /// know.
  bool by_own_numbers() const;
};

/// Reads one split. Fills in the dataset's default folder if settings.data_dir is empty; throws UsageError if
/// there is none.
Dataset load_images(ImageSettings& settings, Split split);

/// {H, W, C} of one image.
Shape image_shape(const Dataset& dataset);

/// For a model on `device` with an output per class of `dataset`.
ModelOptions model_options(const Dataset& dataset, std::uint64_t seed, Device device);

}  // namespace generous

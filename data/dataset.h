// Datasets: decoded once, kept as u8 in memory.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "data/normalisation.h"

namespace generous {

enum class Split { train, test };

struct Dataset {
  Tensor images;                     ///< u8 {N, H, W, C}
  std::vector<std::int64_t> labels;  ///< N class indices
  std::vector<std::string> classes;  ///< names, by index

  std::int64_t size() const { return images.size(0); }
};

/// What training on a dataset needs to know beyond its images.
struct DatasetInfo {
  std::string name;
  Normalisation normalisation = {};
  /// Zero-pad by this much, then crop back at random; 0: no crop. As published: see crop_padding_for.
  std::int64_t crop_padding = 0;
  float rotation_degrees = 0.0F;         ///< rotate by up to this much; 0: none
  bool flip = true;                      ///< mirror horizontally with probability 1/2
  std::filesystem::path default_folder;  ///< looked at when no --data_dir is given
  // As published; of no size where the folder decides.
  Shape image = {};  ///< {H, W, C}
  std::int64_t classes = 0;
  std::int64_t train_images = 0;
  std::int64_t test_images = 0;
  /// Whether it has no published numbers: a run takes those of its training images (statistics_of). What
  /// `normalisation` has instead is what everything trained on it before.
  bool own_normalisation = false;
  /// What most publications about the dataset take, where that is another one.
  std::optional<Normalisation> field_normalisation = {};
};

/// fashion_mnist, cifar10, cifar100, tiny_imagenet, class_folders. Throws Error that names the nearest for
/// others.
const DatasetInfo& dataset_info(std::string_view name);
std::vector<std::string> dataset_names();

/// The dataset's crop padding in proportion to images {H, W, C} of another size than it was published for: to
/// their shorter side. Class folders have CIFAR's, an eighth.
std::int64_t crop_padding_for(const DatasetInfo& info, const Shape& image);

/// Reads one split from `folder`. Throws Error with the file, what was found and what was expected, for files
/// that are missing, truncated, of a wrong size, mislabelled or that do not decode. Images are made to fit
/// `side` x `side` (data/resize.h) unless it is 0.
Dataset load_dataset(const std::string& name, const std::filesystem::path& folder, Split split,
                     std::int64_t side = 0);

/// Grey images {N, H, W, 1} as {N, H, W, 3}.
Tensor repeat_grey(const Tensor& images);

}  // namespace generous

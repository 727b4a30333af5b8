#include "apps/training/images.h"

#include <fmt/format.h>

namespace generous {

void ImageSettings::declare(Options& options) {
  options.group("data");
  options.add("dataset", dataset, {.help = "the images", .choices = dataset_names(), .required = true});
  options.add("data_dir", data_dir, {.help = "the dataset's folder", .role = Role::flexible});
}

Dataset load_images(ImageSettings& settings, Split split) {
  const DatasetInfo& info = dataset_info(settings.dataset);
  if (settings.data_dir.empty()) settings.data_dir = info.default_folder.string();
  if (settings.data_dir.empty())
    throw UsageError(fmt::format("{} has no default folder: give --data_dir", info.name));
  return load_dataset(info.name, settings.data_dir, split);
}

Shape image_shape(const Dataset& dataset) {
  const Tensor& images = dataset.images;
  return {images.size(1), images.size(2), images.size(3)};
}

ModelOptions model_options(const Dataset& dataset, std::uint64_t seed, Device device) {
  return {.classes = static_cast<std::int64_t>(dataset.classes.size()),
          .image = image_shape(dataset),
          .seed = seed,
          .device = device};
}

}  // namespace generous

#include "apps/training/images.h"

#include <fmt/format.h>

namespace generous {

Dataset load_images(Config& config, Split split) {
  const DatasetInfo& info = dataset_info(config.dataset);
  if (config.data_dir.empty()) config.data_dir = info.default_folder.string();
  if (config.data_dir.empty())
    throw UsageError(fmt::format("{} has no default folder: give --data_dir", info.name));
  return load_dataset(info.name, config.data_dir, split);
}

Shape image_shape(const Dataset& dataset) {
  const Tensor& images = dataset.images;
  return {images.size(1), images.size(2), images.size(3)};
}

ModelOptions model_options(const Config& config, const Dataset& dataset, Device device) {
  return {.classes = static_cast<std::int64_t>(dataset.classes.size()),
          .image = image_shape(dataset),
          .settings = {{"num_channels", fmt::format("{}", config.num_channels)},
                       {"dropout_rate", fmt::format("{}", config.dropout_rate)}},
          .seed = static_cast<std::uint64_t>(config.seed),
          .device = device};
}

}  // namespace generous

#include "apps/training/images.h"

#include <fmt/format.h>

#include "core/error.h"

namespace generous {

void ImageSettings::declare(Options& options) {
  options.group("data");
  options.add("dataset", dataset, {.help = "the images", .choices = dataset_names(), .required = true});
  options.add("data_dir", data_dir, {.help = "the dataset's folder", .role = Role::flexible});
  const bool of_weights = normalisation == from_weights;
  const bool has_field = !dataset.empty() && dataset_info(dataset).field_normalisation.has_value();
  const auto words = [&](const char* weights, const char* own, const char* field) {
    return fmt::format("{}{}{}", of_weights ? weights : "", own, has_field ? field : "");
  };
  options.add("normalisation", normalisation,
              {.help = "how images are normalised: " + words("as the weights were trained (weights), or ",
                                                             "by the dataset's own numbers (dataset)",
                                                             ", by most publications' (field)"),
               .form = words("weights, ", "dataset, ", "field, ") +
                       "or means/standard deviations by channel such as 0.5,0.5,0.5/0.25,0.25,0.25",
               .fits =
                   [=](const std::string& text) {
                     return text == "dataset" || (has_field && text == "field") ||
                            (of_weights && text == from_weights) || parse_normalisation(text).has_value();
                   },
               .left_out = true});
}

DatasetInfo ImageSettings::info(std::int64_t channels) const {
  DatasetInfo info = dataset_info(dataset);
  if (normalisation == "field") info.normalisation = info.field_normalisation.value();
  if (const auto given = parse_normalisation(normalisation)) {
    require(given->channels == channels,
            "normalisation: {} is for images of {} channels, those of {} have {}", normalisation,
            given->channels, dataset, channels);
    info.normalisation = given->values;
  }
  return info;
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

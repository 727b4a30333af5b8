#include "apps/training/images.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace generous {

void ImageSettings::declare(Options& options) {
  options.group("data");
  options.add("dataset", dataset,
              {.help = "the images",
               .choices = dataset_names(),
               .positional = positional,
               .required = dataset.empty()});
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
  options.add(
      "image_size", image_size,
      {.help = "images of any size are made to fit so many pixels, height and width: scaled until they cover "
               "them, the middle of that; 0: all images have one size",
       .min = 0,
       .max = 4096,
       .left_out = true});
}

void ImageSettings::take_from(const WeightsOrigin& origin, const std::filesystem::path& weights) {
  const std::vector<std::string> names = dataset_names();
  if (std::ranges::find(names, origin.dataset) == names.end()) return;
  dataset = origin.dataset;
  image_size = origin.image_size;
  const std::filesystem::path params = weights.parent_path() / "params.json";
  if (!file_exists(params)) return;
  const nlohmann::json run = nlohmann::json::parse(read_file(params), nullptr, false);
  const auto folder = run.is_object() ? run.find("data_dir") : run.end();
  if (folder != run.end() && folder->is_string() && file_exists(folder->get<std::string>()))
    data_dir = folder->get<std::string>();
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

bool ImageSettings::by_own_numbers() const {
  return dataset_info(dataset).own_normalisation &&
         (normalisation == "dataset" || normalisation == from_weights);
}

Dataset load_images(ImageSettings& settings, Split split) {
  const DatasetInfo& info = dataset_info(settings.dataset);
  if (settings.data_dir.empty()) settings.data_dir = info.default_folder.string();
  if (settings.data_dir.empty())
    throw UsageError(fmt::format("{} has no default folder: give --data_dir", info.name));
  return load_dataset(info.name, settings.data_dir, split, settings.image_size);
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

#include "apps/training/fitting_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "data/dataset.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

/// The last tensor of this rank, or nothing.
const Tensor* last_of_rank(const NamedTensors& tensors, std::int64_t rank) {
  const Tensor* found = nullptr;
  for (const auto& [name, tensor] : tensors)
    if (tensor.shape().rank() == rank) found = &tensor;
  return found;
}

/// What the images may have been: the size decides the shapes of few models, the channels those of all.
std::vector<Shape> possible_images(const NamedTensors& tensors) {
  std::optional<std::int64_t> channels;
  for (const auto& [name, tensor] : tensors)
    if (tensor.shape().rank() == 4 && !channels) channels = tensor.size(1);  // {K, C, R, S}
  std::vector<Shape> images;
  for (const std::string& name : dataset_names()) {
    const Shape& image = dataset_info(name).image;
    if (image.rank() != 3) continue;
    const Shape possible{image[0], image[1], channels.value_or(image[2])};
    if (std::ranges::find(images, possible) == images.end()) images.push_back(possible);
  }
  return images;
}

/// `classifier` {classes, features, ...} is all that tells a wide ResNet's widening factor.
std::vector<std::string> candidates(const Tensor& classifier) {
  std::vector<std::string> names = model_names();
  std::erase_if(names, [](const std::string& name) { return name.ends_with("_D_K"); });
  if (classifier.size(1) % 64 == 0)
    for (const int depth : {10, 16, 22, 28, 34, 40})
      names.push_back(fmt::format("wrn_{}_{}", depth, classifier.size(1) / 64));
  return names;
}

bool fits(const std::string& model, const ModelOptions& options, const NamedTensors& tensors) {
  try {
    return have_same_form(find_family(model)->build(options)->state(), tensors);
  } catch (const Error&) {  // not for such images
    return false;
  }
}

}  // namespace

std::vector<std::string> models_that_fit(const NamedTensors& tensors) {
  const Tensor* classifier = last_of_rank(tensors, 2);
  if (classifier == nullptr) classifier = last_of_rank(tensors, 4);  // a convolution of mobilenetv2
  if (classifier == nullptr || classifier->size(0) < 2) return {};
  const std::vector<Shape> images = possible_images(tensors);
  std::vector<std::string> models;
  for (const std::string& model : candidates(*classifier))
    if (std::ranges::any_of(images, [&](const Shape& image) {
          return fits(model, {.classes = classifier->size(0), .image = image}, tensors);
        }))
      models.push_back(model);
  return models;
}

}  // namespace generous

#include "apps/training/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/autograd.h"
#include "core/counted.h"
#include "core/error.h"

namespace generous {

namespace {

/// A number from 0 to 4096 in digits alone.
std::optional<std::int64_t> pixels_of(const std::string& text) {
  std::int64_t pixels = 0;
  const char* const end = text.data() + text.size();
  const auto [behind, error] = std::from_chars(text.data(), end, pixels);
  if (error != std::errc() || behind != end || pixels < 0 || pixels > 4096) return std::nullopt;
  return pixels;
}

}  // namespace

void BatchSettings::declare(Options& options, const std::string& help_of_batch_size) {
  options.add("batch_size", batch_size, {.help = help_of_batch_size, .min = 1, .max = 65536});
  options.add("num_workers", num_workers,
              {.help = "threads that prepare batches ahead",
               .min = 0,
               .max = max_loader_workers,
               .role = Role::flexible});
}

LoaderOptions BatchSettings::loader_options(Device device) const {
  return {.batch_size = batch_size,
          .workers = static_cast<int>(num_workers),
          .shuffle = false,
          .augment = false,
          .device = device};
}

void TrainingBatchSettings::declare(Options& options) {
  options.group("training");
  BatchSettings::declare(options, "images per step");
  options.add(
      "micro_batches", micro_batches,
      {.help = "slices of each batch that pass one after the other, and whose gradients are added up: "
               "less memory, but batch norm takes its statistics over a slice",
       .min = 1,
       .max = 65536,
       .role = Role::flexible,
       .left_out = true});
  options.add("augmentation", augmentation, {.help = "crop, flip or rotate the training images at random"});
  options.add(
      "crop_padding", crop_padding,
      {.help =
           "pixels around a training image before it is cropped back at random; 0: no crop; the dataset's: "
           "4 of CIFAR's 32, 2 of Fashion-MNIST's 28, none of Tiny-ImageNet, an eighth of class folders'",
       .form = "dataset, or a number of pixels such as 4",
       .fits = [](const std::string& text) { return text == "dataset" || pixels_of(text).has_value(); },
       .left_out = true});
  options.add("randaugment", randaugment,
              {.help = "N,M: then N of RandAugment's operations on their pixels, of magnitude M",
               .min = 0,
               .max = max_magnitude,
               .count = 2,
               .left_out = true});
  options.add("random_erasing", random_erasing,
              {.help = "probability of erasing a rectangle of a training image",
               .min = 0,
               .max = 1,
               .left_out = true});
  options.add("shuffle", shuffle, {.help = "a new order of the training images in every epoch"});
  options.add(
      "drop_last", drop_last,
      {.help = "leave an epoch's last batch out where it is smaller than the others", .left_out = true});
}

std::int64_t TrainingBatchSettings::crop_pixels(const DatasetInfo& info, const Shape& image) const {
  const std::int64_t pixels = pixels_of(crop_padding).value_or(crop_padding_for(info, image));
  const std::int64_t most = std::min(image[0], image[1]);
  require(pixels <= most,
          "crop_padding: {} pixels around images of {} x {}: crops could miss them; at most {}", pixels,
          image[0], image[1], most);
  return pixels;
}

LoaderOptions TrainingBatchSettings::loader_options(std::uint64_t seed, Device device) const {
  return {.batch_size = batch_size,
          .workers = static_cast<int>(num_workers),
          .seed = seed,
          .shuffle = shuffle,
          .augment = augmentation,
          .rand_augment = {.operations = randaugment[0], .magnitude = randaugment[1]},
          .erasing = random_erasing,
          .drop_last = drop_last,
          .device = device};
}

namespace {

bool has_single(std::int64_t images, std::int64_t batch_size) {
  return batch_size == 1 || images % batch_size == 1;
}

/// Why the model cannot be trained on one image, or nothing: found by trying it, on a model of its own.
std::string why_not_single(const ModelSettings& asked, const ModelOptions& options) {
  const NoGrad no_grad;
  const std::unique_ptr<Network> model = asked.make(options);
  model->train();
  const Shape& image = options.image;
  try {
    (*model)(Tensor::zeros({1, image[0], image[1], image[2]}, DType::f32, options.device));
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

/// "5 or 8": the next batch sizes below and above that leave no single image.
std::string better_sizes(std::int64_t images, std::int64_t batch_size) {
  std::int64_t below = batch_size - 1;
  while (below > 1 && has_single(images, below)) --below;
  std::int64_t above = batch_size + 1;
  while (has_single(images, above)) ++above;
  return below > 1 ? fmt::format("{} or {}", below, above) : fmt::format("{}", above);
}

void check_slices(const TrainingBatchSettings& settings, const ModelSettings& model,
                  const ModelOptions& options, std::int64_t images, std::int64_t slices) {
  const std::int64_t left = settings.drop_last ? 0 : images % settings.batch_size;
  const std::int64_t smallest = left > 0 ? left : settings.batch_size;
  if (smallest / slices > 1) return;
  const std::string reason = smallest < slices ? "" : why_not_single(model, options);
  if (smallest >= slices && reason.empty()) return;
  const std::string what =
      reason.empty() ? "there are not so many slices in it"
                     : fmt::format("{} cannot be trained on a slice of one ({})", model.name, reason);
  fail(
      "the smallest batch of {} images in batches of {} has {} and is taken in {} slices: {}; give another "
      "--batch_size{}, or fewer slices",
      images, settings.batch_size, smallest, slices, what,
      left > 0 ? ", --drop_last 1 to leave a smaller last batch out of every epoch" : "");
}

}  // namespace

void check_batches(const TrainingBatchSettings& settings, const ModelSettings& model,
                   const ModelOptions& options, std::int64_t images, std::int64_t slices) {
  if (settings.drop_last && images < settings.batch_size)
    fail(
        "{} make no batch of {}, and --drop_last 1 drops smaller ones: give --drop_last 0 or "
        "a smaller --batch_size",
        counted(images, "training image"), settings.batch_size);
  if (slices > 1) return check_slices(settings, model, options, images, slices);
  if (!has_single(images, settings.batch_size) || (settings.drop_last && settings.batch_size > 1)) return;
  const std::string reason = why_not_single(model, options);
  if (reason.empty()) return;
  if (images == 1) fail("{} cannot be trained on a single image ({})", model.name, reason);
  if (settings.batch_size == 1)
    fail("{} cannot be trained on batches of one image ({}): give --batch_size {}", model.name, reason,
         better_sizes(images, settings.batch_size));
  fail(
      "{} cannot be trained on a batch of one image ({}), and the last of {} images in batches of {} is one: "
      "give --batch_size {}, or --drop_last 1 to leave a smaller last batch out of every epoch",
      model.name, reason, images, settings.batch_size, better_sizes(images, settings.batch_size));
}

}  // namespace generous

#include "apps/training/batches.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "core/error.h"

namespace generous {

namespace {

bool has_single(std::int64_t images, std::int64_t batch_size) {
  return batch_size == 1 || images % batch_size == 1;
}

/// Why the model cannot be trained on one image, or nothing: found by trying it, on a model of its own.
std::string why_not_single(const Config& config, const ModelOptions& options) {
  const NoGrad no_grad;
  const std::unique_ptr<Module> model = make_model(config.model_name, options);
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

}  // namespace

void check_batches(const Config& config, const ModelOptions& options, std::int64_t images) {
  if (config.drop_last && images < config.batch_size)
    fail(
        "{} training images make no batch of {}, and --drop_last 1 drops smaller ones: give --drop_last 0 or "
        "a smaller --batch_size",
        images, config.batch_size);
  if (!has_single(images, config.batch_size) || (config.drop_last && config.batch_size > 1)) return;
  const std::string reason = why_not_single(config, options);
  if (reason.empty()) return;
  if (images == 1) fail("{} cannot be trained on a single image ({})", config.model_name, reason);
  if (config.batch_size == 1)
    fail("{} cannot be trained on batches of one image ({}): give --batch_size {}", config.model_name, reason,
         better_sizes(images, config.batch_size));
  fail(
      "{} cannot be trained on a batch of one image ({}), and the last of {} images in batches of {} is one: "
      "give --batch_size {}, or --drop_last 1 to leave a smaller last batch out of every epoch",
      config.model_name, reason, images, config.batch_size, better_sizes(images, config.batch_size));
}

}  // namespace generous

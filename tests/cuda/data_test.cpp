// Batches that are augmented on the device from images that stay there, by the loader or by a training step:
// the same bits as the host's.

#include <doctest/doctest.h>

#include <algorithm>

#include "apps/training/train_step.h"
#include "core/backend.h"
#include "core/placement.h"
#include "data/loader.h"
#include "nn/distill/none.h"
#include "nn/models/registry.h"

namespace generous {
namespace {

/// N images of 6 x 5 pixels.
Dataset make_dataset(std::int64_t count, std::int64_t channels) {
  Dataset dataset;
  dataset.classes = {"a", "b", "c"};
  dataset.images = Tensor::empty({count, 6, 5, channels}, DType::u8);
  std::size_t i = 0;
  for (std::uint8_t& byte : dataset.images.data<std::uint8_t>())
    byte = static_cast<std::uint8_t>(7 * i + i / 90), ++i;
  for (std::int64_t n = 0; n < count; ++n) dataset.labels.push_back(n % 3);
  return dataset;
}

/// Both deliver the same bits, in two epochs.
void check_same_batches(const Dataset& dataset, const DatasetInfo& info, LoaderOptions options) {
  Loader host(dataset, info, options);
  options.device = Device::cuda;
  Loader device(dataset, info, options);
  const auto same = [](const Tensor& found, const Tensor& wanted) {
    return std::ranges::equal(found.to(Device::cpu).data<float>(), wanted.data<float>());
  };
  const auto same_numbers = [](const Tensor& found, const Tensor& wanted) {
    return std::ranges::equal(found.to(Device::cpu).data<std::int64_t>(), wanted.data<std::int64_t>());
  };
  for (const std::int64_t epoch : {0, 5}) {
    host.start_epoch(epoch);
    device.start_epoch(epoch);
    while (const std::optional<Batch> wanted = host.next()) {
      const std::optional<Batch> found = device.next();
      REQUIRE(found.has_value());
      REQUIRE(found->images.device() == Device::cuda);
      CHECK(same(found->images, wanted->images));
      CHECK(found->second_view.defined() == options.second_view);
      if (options.second_view) CHECK(same(found->second_view, wanted->second_view));
      CHECK(same_numbers(found->indices, wanted->indices));
      CHECK(same_numbers(found->labels, wanted->labels));
    }
    CHECK_FALSE(device.next().has_value());
  }
}

TEST_CASE("a loader on the device delivers the host's batches: placed, by RandAugment, erased, strong") {
  for (const std::int64_t channels : {1, 2, 3})
    for (const float degrees : {0.0F, 20.0F}) {
      CAPTURE(channels);
      CAPTURE(degrees);
      const DatasetInfo info{.name = "test",
                             .normalisation = {.mean = {0.5F, 0.25F, 0.125F}, .std = {0.5F, 0.25F, 0.2F}},
                             .crop_padding = 2,
                             .rotation_degrees = degrees,
                             .flip = true,
                             .default_folder = {}};
      const Dataset dataset = make_dataset(23, channels);
      const LoaderOptions options{.batch_size = 9, .workers = 2, .seed = 3};
      check_same_batches(dataset, info, options);
      LoaderOptions erasing = options;
      erasing.erasing = 0.5;
      check_same_batches(dataset, info, erasing);
      if (channels == 2) continue;
      LoaderOptions strong = options;
      strong.second_view = true;
      check_same_batches(dataset, info, strong);
      strong.rand_augment = {.operations = 2, .magnitude = 9};
      strong.erasing = 0.5;
      check_same_batches(dataset, info, strong);
    }
}

/// Losses of seven training steps, and the weights after them. Batches are whole but for the last of each
/// epoch.
std::vector<float> trained(const LoaderOptions& options, DType dtype, bool record) {
  const Dataset dataset = make_dataset(23, 3);
  const DatasetInfo info{.name = "test",
                         .normalisation = {.mean = {0.5F, 0.25F, 0.125F}, .std = {0.5F, 0.25F, 0.2F}},
                         .crop_padding = 2,
                         .flip = true,
                         .default_folder = {}};
  Loader loader(dataset, info, options);
  const auto model = make_model("resnet8", {.classes = 3, .image = {6, 5, 3}, .device = Device::cuda});
  const auto optimizer = make_sgd(*model, {.momentum = 0.9F});
  const auto method = make_none();
  TrainStep step({*model, nullptr, *method}, *optimizer,
                 {.dtype = dtype, .device = Device::cuda, .record = record, .batch_size = 5});
  optimizer->set_learning_rate(0.01F);
  step.start_epoch(0);
  std::vector<float> found;
  for (std::int64_t i = 0; i < 7; ++i) {
    if (i % loader.batches() == 0) loader.start_epoch(i / loader.batches());
    found.push_back(step.run(*loader.next(), i).read().loss);
  }
  for (const StateEntry& entry : model->parameters()) {
    const Tensor weights = entry.tensor.to(Device::cpu);
    found.insert(found.end(), weights.data<float>().begin(), weights.data<float>().end());
  }
  return found;
}

TEST_CASE("a training step makes its images, recorded or not, as the loader does") {
  backend(Device::cuda).choose_algorithms({.deterministic = true});
  for (const std::int64_t operations : {0, 2})
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(operations);
      CAPTURE(name_of(dtype));
      LoaderOptions options{.batch_size = 5,
                            .workers = 1,
                            .seed = 3,
                            .rand_augment = {.operations = operations, .magnitude = 9},
                            .erasing = 0.5,
                            .device = Device::cuda};
      const std::vector<float> wanted = trained(options, dtype, false);
      options.unmade = true;
      CHECK(trained(options, dtype, false) == wanted);
      CHECK(trained(options, dtype, true) == wanted);
    }
  backend(Device::cuda).choose_algorithms({});
}

TEST_CASE("a placement outside the dataset shows black, and reads nothing") {
  const Dataset dataset = make_dataset(2, 3);
  std::vector<float> table(3 * 256);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
  std::vector<std::int64_t> rows(2 * placement_size);
  rows[0] = 2;
  rows[placement_size] = -1;
  Tensor y = Tensor::empty({2, 6, 5, 3}, DType::f32, Device::cuda);
  backend(Device::cuda)
      .augment({.images = dataset.images.to(Device::cuda),
                .placements = Tensor::from(rows, {2, placement_size}).to(Device::cuda),
                .normalise = Tensor::from(table, {3, 256}).to(Device::cuda)},
               y);
  std::size_t i = 0;
  for (const float value : y.to(Device::cpu).data<float>())
    CHECK(value == static_cast<float>(256 * (i++ % 3)));
}

}  // namespace
}  // namespace generous

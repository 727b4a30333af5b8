#include "data/loader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/cpu/augment.h"
#include "core/error.h"
#include "core/random.h"
#include "data/augment.h"
#include "data/prefetcher.h"

namespace generous {

namespace {

constexpr std::int64_t max_samples =
    std::numeric_limits<std::uint32_t>::max();  // a random counter has 32 bits

// The order in which an epoch visits the samples.
using Order = std::vector<std::uint32_t>;

// Fisher and Yates's shuffle.
Order epoch_order(std::int64_t samples, bool shuffle, const Random& random, std::uint32_t epoch) {
  Order order(static_cast<std::size_t>(samples));
  std::iota(order.begin(), order.end(), 0U);
  if (!shuffle) return order;
  for (std::size_t i = order.size() - 1; i > 0; --i) {
    std::swap(order[i], order[random.below(static_cast<std::uint32_t>(i + 1), epoch, 0, i)]);
  }
  return order;
}

void write_placement(const Placement& placement, std::size_t row, std::span<std::int64_t> rows) {
  const auto values = std::bit_cast<std::array<std::int64_t, placement_size>>(placement);
  std::copy(values.begin(), values.end(), rows.begin() + static_cast<std::ptrdiff_t>(row * values.size()));
}

void check(const Dataset& dataset, const DatasetInfo& info, const LoaderOptions& options) {
  const Tensor& images = dataset.images;
  require(images.defined() && images.dtype() == DType::u8 && images.shape().rank() == 4,
          "loader: expected images of u8 {{N, H, W, C}}");
  require(images.numel() > 0 && images.size(0) <= max_samples && images.size(3) <= 3,
          "loader: found images {}, expected at least one of 1 to 3 channels", images.shape().str());
  for (std::size_t c = 0; c < static_cast<std::size_t>(images.size(3)); ++c) {
    require(info.std[c] > 0.0F, "loader: {} gives channel {} the standard deviation {}", info.name, c,
            info.std[c]);
  }
  require(std::ssize(dataset.labels) == images.size(0), "loader: {} labels for {} images",
          dataset.labels.size(), images.size(0));
  for (const std::int64_t label : dataset.labels) {
    require(label >= 0 && label < std::ssize(dataset.classes), "loader: found label {}, expected 0 to {}",
            label, std::ssize(dataset.classes) - 1);
  }
  require(options.batch_size >= 1, "loader: batch size {}, expected at least 1", options.batch_size);
  require(options.workers >= 0 && options.workers <= max_loader_workers,
          "loader: {} workers, expected 0 to {}", options.workers, max_loader_workers);
  require(!options.drop_last || images.size(0) >= options.batch_size,
          "loader: {} images make no batch of {}, and smaller ones are dropped", images.size(0),
          options.batch_size);
  require(info.crop_padding >= 0 && info.crop_padding <= std::max(images.size(1), images.size(2)),
          "loader: crop padding {} for images {}", info.crop_padding, images.shape().str());
}

}  // namespace

struct Loader::State {
  State(const Dataset& dataset_, const DatasetInfo& info_, const LoaderOptions& options_)
      : dataset(dataset_),
        info(info_),
        options(options_),
        shape{dataset.images.size(1), dataset.images.size(2), dataset.images.size(3)},
        table(make_normalise_table(info)),
        augment_random(options.seed, "augment"),
        second_random(options.seed, "augment, second view"),
        shuffle_random(options.seed, "shuffle"),
        prefetcher(options.workers, 2 * options.workers) {
    if (options.device == Device::cpu) return;
    images_on_gpu = dataset.images.to(options.device);
    const Tensor host = Tensor::from(std::span<const float>(table), {3, 256});
    table_on_gpu = host.to(options.device);
  }

  std::int64_t batches() const {
    return (dataset.size() + (options.drop_last ? 0 : options.batch_size - 1)) / options.batch_size;
  }

  // What a worker prepares of batch `index` of the epoch that visits the samples in `order`: the batch, or
  // for a GPU, in place of the images, their placements.
  Batch assemble(const Order& order, std::uint32_t epoch, std::int64_t index) const {
    const std::int64_t begin = index * options.batch_size;
    const std::int64_t count = std::min(options.batch_size, dataset.size() - begin);
    const auto samples =
        std::span(order).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
    Batch batch{.images = view(samples, epoch, augment_random),
                .labels = Tensor::empty({count}, DType::i64),
                .indices = Tensor::empty({count}, DType::i64),
                .second_view = options.second_view ? view(samples, epoch, second_random) : Tensor()};
    const std::span<std::int64_t> labels = batch.labels.data<std::int64_t>();
    const std::span<std::int64_t> indices = batch.indices.data<std::int64_t>();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      labels[i] = dataset.labels[samples[i]];
      indices[i] = samples[i];
    }
    return batch;
  }

  // The images of `samples`, augmented as `random` draws it: {B, H, W, C}, or for a GPU {B, placement_size}.
  Tensor view(std::span<const std::uint32_t> samples, std::uint32_t epoch, const Random& random) const {
    const bool on_host = options.device == Device::cpu;
    const std::int64_t count = std::ssize(samples);
    Tensor out = on_host ? Tensor::empty({count, shape.height, shape.width, shape.channels})
                         : Tensor::empty({count, placement_size}, DType::i64);
    const auto pixels = static_cast<std::size_t>(shape.numel());
    const std::span<const std::uint8_t> images = dataset.images.data<std::uint8_t>();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const Augmentation augmentation =
          options.augment ? draw_augmentation(info, random, epoch, samples[i]) : Augmentation{};
      const Placement placement = placement_of(augmentation, shape, samples[i]);
      if (on_host)
        augment_image(placement, shape, images.subspan(samples[i] * pixels, pixels), table,
                      out.data<float>().subspan(i * pixels, pixels));
      else
        write_placement(placement, i, out.data<std::int64_t>());
    }
    return out;
  }

  // The batch on the GPU, from what `assemble` prepared for it.
  Batch on_gpu(const Batch& prepared) const {
    return {.images = placed_on_gpu(prepared.images),
            .labels = prepared.labels.to(options.device),
            .indices = prepared.indices.to(options.device),
            .second_view = options.second_view ? placed_on_gpu(prepared.second_view) : Tensor()};
  }

  Tensor placed_on_gpu(const Tensor& placements) const {
    Tensor images = Tensor::empty({placements.size(0), shape.height, shape.width, shape.channels}, DType::f32,
                                  options.device);
    backend(options.device)
        .augment(
            {.images = images_on_gpu, .placements = placements.to(options.device), .normalise = table_on_gpu},
            images);
    return images;
  }

  const Dataset& dataset;
  const DatasetInfo info;
  const LoaderOptions options;
  const ImageShape shape;
  const NormaliseTable table;
  const Random augment_random;
  const Random second_random;
  const Random shuffle_random;
  Tensor images_on_gpu;  // undefined on the host
  Tensor table_on_gpu;
  Prefetcher prefetcher;  // last: its threads use the rest
};

Loader::Loader(const Dataset& dataset, const DatasetInfo& info, const LoaderOptions& options) {
  check(dataset, info, options);
  state_ = std::make_unique<State>(dataset, info, options);
}

Loader::~Loader() = default;

std::int64_t Loader::batches() const { return state_->batches(); }

std::int64_t Loader::images_in(std::int64_t batches) const {
  return std::min(batches * state_->options.batch_size, state_->dataset.size());
}

void Loader::start_epoch(std::int64_t epoch, std::int64_t first) {
  require(epoch >= 0 && epoch <= std::numeric_limits<std::uint32_t>::max(), "loader: epoch {}", epoch);
  require(first >= 0 && first <= batches(), "loader: first batch {}, expected 0 to {}", first, batches());
  const auto counter = static_cast<std::uint32_t>(epoch);
  const State& state = *state_;
  state_->prefetcher.start(
      first, batches(),
      [&state, counter,
       order = epoch_order(state.dataset.size(), state.options.shuffle, state.shuffle_random, counter)](
          std::int64_t index) { return state.assemble(order, counter, index); });
}

std::optional<Batch> Loader::next() {
  std::optional<Batch> batch = state_->prefetcher.next();
  return batch && state_->options.device != Device::cpu ? state_->on_gpu(*batch) : batch;
}

}  // namespace generous

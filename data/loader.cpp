#include "data/loader.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/random.h"
#include "data/prefetcher.h"
#include "data/views.h"

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

void check(const Dataset& dataset, const DatasetInfo& info, const LoaderOptions& options) {
  const Tensor& images = dataset.images;
  require(images.defined() && images.dtype() == DType::u8 && images.shape().rank() == 4,
          "loader: expected images of u8 {{N, H, W, C}}");
  require(images.numel() > 0 && images.size(0) <= max_samples && images.size(3) <= 3,
          "loader: found images {}, expected at least one of 1 to 3 channels", images.shape().str());
  require((!options.second_view && options.rand_augment.operations == 0) || images.size(3) != 2,
          "loader: RandAugment of images {}, expected 1 or 3 channels", images.shape().str());
  require(options.rand_augment.operations >= 0 && options.rand_augment.magnitude >= 0 &&
              options.rand_augment.magnitude <= max_magnitude,
          "loader: RandAugment with {} operations of magnitude {}, expected at least 0 and 0 to {}",
          options.rand_augment.operations, options.rand_augment.magnitude, max_magnitude);
  require(options.erasing >= 0.0 && options.erasing <= 1.0, "loader: erasing with probability {}",
          options.erasing);
  for (std::size_t c = 0; c < static_cast<std::size_t>(images.size(3)); ++c) {
    require(info.normalisation.std[c] > 0.0F, "loader: {} gives channel {} the standard deviation {}",
            info.name, c, info.normalisation.std[c]);
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
  const std::int64_t last = options.drop_last ? 0 : images.size(0) % options.batch_size;
  require(options.slices >= 1 && options.slices <= (last > 0 ? last : options.batch_size),
          "loader: {} slices of batches of {} images, the last one of {}", options.slices, options.batch_size,
          last > 0 ? last : options.batch_size);
  require(options.share.index >= 0 && options.share.index < options.share.of, "loader: share {} of {}",
          options.share.index, options.share.of);
  require(info.crop_padding >= 0 && info.crop_padding <= std::max(images.size(1), images.size(2)),
          "loader: crop padding {} for images {}", info.crop_padding, images.shape().str());
}

}  // namespace

struct Loader::State {
  State(const Dataset& dataset_, const DatasetInfo& info, const LoaderOptions& options_)
      : dataset(dataset_),
        options(options_),
        views(dataset, info, options),
        shuffle_random(options.seed, "shuffle"),
        prefetcher(options.workers, 2 * options.workers) {}

  std::int64_t batches() const {
    return (dataset.size() + (options.drop_last ? 0 : options.batch_size - 1)) / options.batch_size;
  }

  // How many slices of the first `batches` batches of an epoch are of this share.
  std::int64_t own_slices(std::int64_t batches) const {
    const Share& share = options.share;
    return (batches * options.slices + share.of - 1 - share.index) / share.of;
  }

  // What a worker prepares of own slice `index` of the epoch that visits the samples in `order`.
  Prepared assemble(const Order& order, std::uint32_t epoch, std::int64_t index) const {
    const std::int64_t of_all = index * options.share.of + options.share.index;
    const std::int64_t batch_begin = of_all / options.slices * options.batch_size;
    const std::int64_t whole = std::min(options.batch_size, dataset.size() - batch_begin);
    const std::int64_t slice = of_all % options.slices;
    const std::int64_t first_row = whole * slice / options.slices;
    const std::int64_t count = whole * (slice + 1) / options.slices - first_row;
    const auto samples = std::span(order).subspan(static_cast<std::size_t>(batch_begin + first_row),
                                                  static_cast<std::size_t>(count));
    Prepared batch{.view = views.prepare(ViewKind::ordinary, samples, epoch),
                   .second_view = {},
                   .labels = Tensor::empty({count}, DType::i64),
                   .indices = Tensor::empty({count}, DType::i64),
                   .first_row = first_row,
                   .whole = whole};
    if (options.second_view) batch.second_view = views.prepare(ViewKind::strong, samples, epoch);
    const std::span<std::int64_t> labels = batch.labels.data<std::int64_t>();
    const std::span<std::int64_t> indices = batch.indices.data<std::int64_t>();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      labels[i] = dataset.labels[samples[i]];
      indices[i] = samples[i];
    }
    return batch;
  }

  Batch finish(const Prepared& prepared) const {
    Batch batch{.images = {},
                .labels = prepared.labels.to(options.device),
                .indices = prepared.indices.to(options.device),
                .first_row = prepared.first_row,
                .whole = prepared.whole};
    if (options.unmade && options.device != Device::cpu) {
      batch.unmade.push_back(views.unmade(prepared.view));
      if (options.second_view) batch.unmade.push_back(views.unmade(prepared.second_view));
    } else {
      batch.images = views.finish(prepared.view);
      if (options.second_view) batch.second_view = views.finish(prepared.second_view);
    }
    return batch;
  }

  const Dataset& dataset;
  const LoaderOptions options;
  const ViewMaker views;
  const Random shuffle_random;
  Prefetcher prefetcher;  // last: its threads use the rest
};

Shape Batch::shape() const {
  if (unmade.empty()) return images.shape();
  const AugmentInputs& in = unmade[0].of;
  return {in.placements.size(0), in.images.size(1), in.images.size(2), in.images.size(3)};
}

Tensor Batch::view(std::size_t number, DType dtype) const {
  if (unmade.empty()) {
    const Tensor& found = number == 0 ? images : second_view;
    return found.dtype() == dtype ? found : cast(found, dtype);
  }
  const AugmentInputs& in = unmade.at(number).of;
  Tensor made = Tensor::empty(shape(), dtype, in.images.device());
  backend(made.device()).augment(in, made);
  return made;
}

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
      state.own_slices(first), state.own_slices(batches()),
      [&state, counter,
       order = epoch_order(state.dataset.size(), state.options.shuffle, state.shuffle_random, counter)](
          std::int64_t index) { return state.assemble(order, counter, index); });
}

std::optional<Batch> Loader::next() {
  const std::optional<Prepared> prepared = state_->prefetcher.next();
  if (!prepared) return std::nullopt;
  return state_->finish(*prepared);
}

}  // namespace generous

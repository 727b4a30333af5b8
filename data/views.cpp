#include "data/views.h"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "core/backend.h"
#include "core/cpu/augment.h"
#include "data/rand_augment.h"

namespace generous {

namespace {

void write_placement(const Placement& placement, std::size_t row, std::span<std::int64_t> rows) {
  const auto values = std::bit_cast<std::array<std::int64_t, placement_size>>(placement);
  std::ranges::copy(values, rows.begin() + static_cast<std::ptrdiff_t>(row * values.size()));
}

}  // namespace

ViewMaker::ViewMaker(const Dataset& dataset, const DatasetInfo& info, const LoaderOptions& options)
    : dataset_(dataset),
      info_(info),
      options_(options),
      shape_{dataset.images.size(1), dataset.images.size(2), dataset.images.size(3)},
      table_(make_normalise_table(info.normalisation)),
      ordinary_(options.seed, "augment"),
      second_(options.seed, "augment, second view"),
      strong_(options.seed, "strong view"),
      rand_augment_(options.seed, "randaugment"),
      erasing_(options.seed, "erasing") {
  if (options.device == Device::cpu) return;
  if (!changes_pixels(ViewKind::ordinary)) images_on_gpu_ = dataset.images.to(options.device);
  table_on_gpu_ = Tensor::from(std::span<const float>(table_), {3, 256}).to(options.device);
}

PreparedView ViewMaker::prepare(ViewKind kind, std::span<const std::uint32_t> samples,
                                std::uint32_t epoch) const {
  const bool on_host = options_.device == Device::cpu;
  const bool changes = changes_pixels(kind);
  const Shape shape = {std::ssize(samples), shape_.height, shape_.width, shape_.channels};
  const auto numel = static_cast<std::size_t>(shape_.numel());
  const std::span<const std::uint8_t> dataset = dataset_.images.data<std::uint8_t>();
  PreparedView view;
  if (on_host || changes) view.images = Tensor::empty(shape, on_host ? DType::f32 : DType::u8);
  if (!on_host) view.placements = Tensor::empty({shape[0], placement_size}, DType::i64);
  std::vector<std::uint8_t> changed(on_host && changes ? numel : 0);

  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::uint32_t sample = samples[i];
    std::span<const std::uint8_t> image = dataset.subspan(sample * numel, numel);
    Placement placement = placement_of(draw(kind, epoch, sample), shape_, sample);
    if (changes) {
      const std::span<std::uint8_t> bytes =
          on_host ? std::span(changed) : view.images.data<std::uint8_t>().subspan(i * numel, numel);
      place_image(placement, shape_, image, bytes);
      change_pixels(kind, {.shape = shape_, .bytes = bytes}, epoch, sample);
      image = bytes;
      placement = {.sample = static_cast<std::int64_t>(i)};
    }
    if (kind == ViewKind::ordinary)
      placement.erased = draw_erasing(options_.erasing, shape_, {erasing_, epoch, sample});
    if (on_host)
      augment_image(placement, shape_, image, table_, view.images.data<float>().subspan(i * numel, numel));
    else
      write_placement(placement, i, view.placements.data<std::int64_t>());
  }
  return view;
}

Augmentation ViewMaker::draw(ViewKind kind, std::uint32_t epoch, std::uint32_t sample) const {
  if (!options_.augment) return {};
  return draw_augmentation(info_, kind == ViewKind::strong ? second_ : ordinary_, epoch, sample);
}

bool ViewMaker::changes_pixels(ViewKind kind) const {
  return kind == ViewKind::strong || options_.rand_augment.operations > 0;
}

void ViewMaker::change_pixels(ViewKind kind, const Pixels& image, std::uint32_t epoch,
                              std::uint32_t sample) const {
  if (kind == ViewKind::ordinary) {
    const ImageRandom random{.random = rand_augment_, .epoch = epoch, .sample = sample};
    for (int i = 0; i < options_.rand_augment.operations; ++i)
      operate(draw_operation(options_.rand_augment, shape_, random, i), image);
    return;
  }
  const ImageRandom random{.random = strong_, .epoch = epoch, .sample = sample};
  for (int i = 0; i < strong_operations; ++i) operate(draw_strong_operation(shape_, random, i), image);
  fill(draw_cutout(shape_, random), cutout_colour, image);
}

Tensor ViewMaker::finish(const PreparedView& prepared) const {
  if (!prepared.placements.defined()) return prepared.images;
  const std::int64_t count = prepared.placements.size(0);
  Tensor images =
      Tensor::empty({count, shape_.height, shape_.width, shape_.channels}, DType::f32, options_.device);
  backend(options_.device).augment(unmade(prepared).of, images);
  return images;
}

UnmadeImages ViewMaker::unmade(const PreparedView& prepared) const {
  const bool of_dataset = !prepared.images.defined();
  return {.of = {.images = of_dataset ? images_on_gpu_ : prepared.images.to(options_.device),
                 .placements = prepared.placements.to(options_.device),
                 .normalise = table_on_gpu_},
          .of_dataset = of_dataset};
}

}  // namespace generous

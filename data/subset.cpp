#include "data/subset.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace generous {

namespace {

using Counts = std::vector<std::int64_t>;  // of each class

Counts class_sizes(std::span<const std::int64_t> labels, std::int64_t classes) {
  Counts sizes(static_cast<std::size_t>(classes), 0);
  for (const std::int64_t label : labels) ++sizes[static_cast<std::size_t>(label)];
  return sizes;
}

// `counts[c]` images of every class c, the first ones of a shuffle of each class.
std::vector<std::int64_t> choose(std::span<const std::int64_t> labels, const Counts& counts,
                                 const Random& random) {
  std::vector<std::vector<std::int64_t>> of_class(counts.size());
  for (std::size_t i = 0; i < labels.size(); ++i)
    of_class[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int64_t>(i));
  std::vector<std::int64_t> chosen;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    std::vector<std::int64_t>& images = of_class[c];
    const auto count = static_cast<std::size_t>(counts[c]);
    for (std::size_t i = 0; i < count; ++i) {
      const auto left = static_cast<std::uint32_t>(images.size() - i);
      std::swap(images[i], images[i + random.below(left, 0, static_cast<std::uint32_t>(c), i)]);
      chosen.push_back(images[i]);
    }
  }
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace

std::vector<std::int64_t> held_out_images(std::span<const std::int64_t> labels, std::int64_t classes,
                                          std::int64_t count, std::uint64_t seed) {
  const Counts sizes = class_sizes(labels, classes);
  const std::int64_t kept = classes - std::ranges::count(sizes, 0);  // one image of each class
  const std::int64_t images = std::ssize(labels);
  require(count <= images - kept,
          "validation: {} of {} training images cannot be held out, at most {} can: one of each class stays",
          count, images, images - kept);
  Counts counts;
  Counts remainders;
  for (const std::int64_t size : sizes) {
    counts.push_back(count * size / images);  // below size, as count is below images
    remainders.push_back(count * size % images);
  }
  std::vector<std::size_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return remainders[a] > remainders[b]; });
  std::int64_t missing = count - std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  while (missing > 0)
    for (const std::size_t c : order)
      if (missing > 0 && counts[c] + 1 < sizes[c]) {
        ++counts[c];
        --missing;
      }
  return choose(labels, counts, Random(seed, "validation"));
}

std::vector<std::int64_t> subset_images(std::span<const std::int64_t> labels, std::int64_t classes,
                                        double percent, std::uint64_t seed) {
  require(percent > 0.0 && percent <= 100.0, "subset: {} percent, expected above 0 and at most 100", percent);
  Counts counts = class_sizes(labels, classes);
  for (std::int64_t& count : counts) {
    const auto share = static_cast<std::int64_t>(std::round(static_cast<double>(count) * percent / 100.0));
    count = std::min(count, std::max<std::int64_t>(share, 1));
  }
  return choose(labels, counts, Random(seed, "subset"));
}

std::vector<std::int64_t> other_images(std::span<const std::int64_t> indices, std::int64_t images) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(images));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  std::vector<std::int64_t> others;
  std::ranges::set_difference(all, indices, std::back_inserter(others));
  return others;
}

Dataset select_images(const Dataset& dataset, std::span<const std::int64_t> indices) {
  const Tensor& all = dataset.images;
  Dataset selected{
      .images = Tensor::empty({std::ssize(indices), all.size(1), all.size(2), all.size(3)}, DType::u8),
      .labels = {},
      .classes = dataset.classes};
  const auto pixels = static_cast<std::size_t>(all.numel() / all.size(0));
  auto out = selected.images.data<std::uint8_t>().begin();
  for (const std::int64_t index : indices) {
    const auto image = all.data<std::uint8_t>().subspan(static_cast<std::size_t>(index) * pixels, pixels);
    out = std::ranges::copy(image, out).out;
    selected.labels.push_back(dataset.labels[static_cast<std::size_t>(index)]);
  }
  return selected;
}

}  // namespace generous

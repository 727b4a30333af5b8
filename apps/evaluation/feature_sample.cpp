#include "apps/evaluation/feature_sample.h"

#include <algorithm>

#include "core/ops.h"
#include "data/subset.h"

namespace generous {

std::vector<std::int64_t> spread_over_classes(std::span<const std::int64_t> labels, std::int64_t classes,
                                              std::int64_t count) {
  std::vector<std::vector<std::int64_t>> members(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i)
    members[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int64_t>(i));
  // One image for each class in turn, until all are given or no class has more.
  std::vector<std::size_t> shares(members.size());
  std::size_t left = std::min(static_cast<std::size_t>(count), labels.size());
  while (left > 0)
    for (std::size_t c = 0; c < members.size() && left > 0; ++c)
      if (shares[c] < members[c].size()) ++shares[c], --left;
  std::vector<std::int64_t> images;
  for (std::size_t c = 0; c < members.size(); ++c)
    for (std::size_t i = 0; i < shares[c]; ++i)
      images.push_back(members[c][i * members[c].size() / shares[c]]);
  std::ranges::sort(images);
  return images;
}

FeatureSample pooled_features(Network& network, const Dataset& dataset, const DatasetInfo& info,
                              std::vector<std::int64_t> images, const LoaderOptions& options, DType dtype) {
  const NoGrad no_grad;
  const Dataset sample = select_images(dataset, images);
  Loader loader(sample, info, options);
  loader.start_epoch(0);
  std::vector<float> values;
  std::int64_t width = 0;
  while (const auto batch = loader.next()) {
    Features features;
    network.forward(cast(batch->images, dtype), &features);
    const Tensor pooled = cast(features.pooled, DType::f32).to(Device::cpu);
    width = pooled.size(1);
    values.insert(values.end(), pooled.data<float>().begin(), pooled.data<float>().end());
  }
  const auto count = static_cast<std::int64_t>(images.size());
  return {.images = std::move(images), .features = Tensor::from(values, {count, width})};
}

}  // namespace generous

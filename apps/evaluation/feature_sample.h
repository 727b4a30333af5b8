// Pooled features of a sample of images, for maps such as t-SNE.
#pragma once

#include "apps/evaluation/report_tables.h"
#include "data/loader.h"
#include "nn/network.h"

namespace generous {

/// The indices, ascending, of `count` images (or all): from each class equally many, as far as it has them,
/// at even distances among its own.
std::vector<std::int64_t> spread_over_classes(std::span<const std::int64_t> labels, std::int64_t classes,
                                              std::int64_t count);

/// The features of these images that the classifier of `network`, in evaluation mode, sees.
FeatureSample pooled_features(Network& network, const Dataset& dataset, const DatasetInfo& info,
                              std::vector<std::int64_t> images, const LoaderOptions& options, DType dtype);

}  // namespace generous

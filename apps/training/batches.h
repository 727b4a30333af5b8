// Whether the batches that a configuration makes of the training images can be trained on.
#pragma once

#include "apps/training/config.h"
#include "nn/models/registry.h"

namespace generous {

/// For a model with these options and so many training images. Throws Error, with sizes that would do, if no
/// batch is whole and smaller ones are dropped, or if there are batches of one image and the model cannot be
/// trained on one (batch norm takes statistics over a batch).
void check_batches(const Config& config, const ModelOptions& options, std::int64_t images);

}  // namespace generous

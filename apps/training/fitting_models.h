// Which network a file of weights is of, where the file does not say it.
#pragma once

#include <string>
#include <vector>

#include "core/safetensors.h"

namespace generous {

/// The models, with their settings at their defaults, whose weights have these names and shapes, for the
/// number of classes and the channels that the tensors tell: of those with a fixed name, and `wrn_D_K`. Empty
/// if there is none.
std::vector<std::string> models_that_fit(const NamedTensors& tensors);

}  // namespace generous

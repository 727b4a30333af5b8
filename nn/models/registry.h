// Models by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/network.h"

namespace generous {

struct ModelOptions {
  std::int64_t classes = 10;
  Shape image{32, 32, 3};          ///< {H, W, C} of one input
  std::int64_t num_channels = 32;  ///< `net` only: width of its first convolution
  float dropout_rate = 0.0F;       ///< `net` only
  std::uint64_t seed = 0;          ///< of the initial weights and of dropout; the same values on every device
  Device device = Device::cpu;
};

/// Builds and initialises a model. Throws Error that names the nearest known model for an unknown name, and
/// for options a model cannot be built with (an image too small for its strides, say).
std::unique_ptr<Network> make_model(const std::string& name, const ModelOptions& options);

/// Every fixed name, sorted; and `wrn_D_K` as a pattern.
std::vector<std::string> model_names();

}  // namespace generous

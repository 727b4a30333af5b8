// Models by name.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "nn/network.h"

namespace generous {

struct ModelOptions {
  std::int64_t classes = 10;
  Shape image{32, 32, 3};  ///< {H, W, C} of one input
  std::map<std::string, std::string> settings =
      {};                  ///< of the family, as in flags; those of others are ignored
  std::uint64_t seed = 0;  ///< of the initial weights and of dropout; the same values on every device
  Device device = Device::cpu;
};

/// A model that is not built yet: the settings of its own and how it is built with them.
class ModelFamily {
 public:
  virtual ~ModelFamily() = default;
  /// Declares its settings, such as a width, bound to its members, with the published values as defaults.
  virtual void declare(Options&) {}
  /// The network with these settings, not initialised. `options.settings` has nothing to say any more. Throws
  /// Error for options that it cannot be built with (an image too small for its strides, say).
  virtual std::unique_ptr<Network> build(const ModelOptions& options) const = 0;
};

/// The model of this name with its settings at their defaults; nullptr if there is none.
std::unique_ptr<ModelFamily> find_family(const std::string& name);

/// Builds a family's network, as its settings are, and initialises it. Throws Error like ModelFamily::build.
std::unique_ptr<Network> make_model(const ModelFamily& family, const ModelOptions& options);
/// The same by name, with options.settings. Throws Error that names the nearest known model for an unknown
/// name.
std::unique_ptr<Network> make_model(const std::string& name, const ModelOptions& options);

/// Throws Error for images that so many 2x2 poolings of stride 2 leave nothing of.
void check_poolings(const std::string& model, const Shape& image, std::int64_t poolings);

/// Every fixed name, sorted; and `wrn_D_K` as a pattern.
std::vector<std::string> model_names();

}  // namespace generous

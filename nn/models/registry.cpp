#include "nn/models/registry.h"

#include <fmt/ranges.h>

#include <functional>
#include <map>

#include "core/nearest.h"
#include "nn/models/cifar_resnet.h"
#include "nn/models/mlp.h"
#include "nn/models/net.h"
#include "nn/models/preresnet.h"
#include "nn/models/resnet.h"
#include "nn/models/wrn.h"

namespace generous {
namespace {

using Factory = std::function<std::unique_ptr<Network>(const ModelOptions&)>;

/// Every model with a fixed name.
const std::map<std::string, Factory>& factories() {
  static const std::map<std::string, Factory> table = [] {
    std::map<std::string, Factory> models{{"net", make_net}, {"mlp", make_mlp}};
    const auto add_resnet = [&models](const std::string& name, const ResNetSpec& spec) {
      models[name] = [spec](const ModelOptions& options) { return make_resnet(spec, options); };
    };
    for (const int depth : {18, 34, 50}) add_resnet("resnet" + std::to_string(depth), resnet_spec(depth));
    for (const int depth : {8, 14, 20, 32, 44, 56, 110})
      add_resnet("resnet" + std::to_string(depth), cifar_resnet_spec(depth, false));
    for (const int depth : {8, 32})
      add_resnet("resnet" + std::to_string(depth) + "x4", cifar_resnet_spec(depth, true));
    for (const int depth : {20, 32, 44, 56, 110})
      models["preresnet" + std::to_string(depth)] = [depth](const ModelOptions& options) {
        return make_preresnet(depth, options);
      };
    return models;
  }();
  return table;
}

void check_options(const ModelOptions& options) {
  require(options.classes >= 2 && options.classes <= 1000000, "model: {} classes, expected 2 to 1000000",
          options.classes);
  require(options.image.rank() == 3 && options.image.numel() > 0, "model: images of {}, expected {{H, W, C}}",
          options.image.str());
  require(options.num_channels >= 1 && options.num_channels <= 4096,
          "model: num_channels is {}, expected 1 to 4096", options.num_channels);
}

std::unique_ptr<Network> build(const std::string& name, const ModelOptions& options) {
  if (const auto it = factories().find(name); it != factories().end()) return it->second(options);
  if (name.starts_with("wrn_")) return make_wrn(parse_wrn(name), options);
  const std::vector<std::string> names = model_names();
  fail("unknown model '{}'; did you mean '{}'? (known: {})", name, nearest(name, names),
       fmt::join(names, ", "));
}

}  // namespace

std::unique_ptr<Network> make_model(const std::string& name, const ModelOptions& options) {
  check_options(options);
  std::unique_ptr<Network> model = build(name, options);
  model->initialise(options.seed);
  model->to(options.device);
  return model;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& [name, factory] : factories()) names.push_back(name);
  names.emplace_back("wrn_D_K");
  return names;
}

}  // namespace generous

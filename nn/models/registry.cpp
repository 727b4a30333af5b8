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

using Build = std::function<std::unique_ptr<Network>(const ModelOptions&)>;
using MakeFamily = std::function<std::unique_ptr<ModelFamily>()>;

/// A model without settings of its own.
class PlainFamily : public ModelFamily {
 public:
  explicit PlainFamily(Build build) : build_(std::move(build)) {}
  std::unique_ptr<Network> build(const ModelOptions& options) const override { return build_(options); }

 private:
  Build build_;
};

MakeFamily plain(Build build) {
  return [build = std::move(build)] { return std::make_unique<PlainFamily>(build); };
}

/// Every model with a fixed name.
const std::map<std::string, MakeFamily>& families() {
  static const std::map<std::string, MakeFamily> table = [] {
    std::map<std::string, MakeFamily> models{{"net", make_net_family}, {"mlp", plain(make_mlp)}};
    const auto add_resnet = [&models](const std::string& name, const ResNetSpec& spec) {
      models[name] = plain([spec](const ModelOptions& options) { return make_resnet(spec, options); });
    };
    for (const int depth : {18, 34, 50}) add_resnet("resnet" + std::to_string(depth), resnet_spec(depth));
    for (const int depth : {8, 14, 20, 32, 44, 56, 110})
      add_resnet("resnet" + std::to_string(depth), cifar_resnet_spec(depth, false));
    for (const int depth : {8, 32})
      add_resnet("resnet" + std::to_string(depth) + "x4", cifar_resnet_spec(depth, true));
    for (const int depth : {20, 32, 44, 56, 110})
      models["preresnet" + std::to_string(depth)] =
          plain([depth](const ModelOptions& options) { return make_preresnet(depth, options); });
    return models;
  }();
  return table;
}

void check_options(const ModelOptions& options) {
  require(options.classes >= 2 && options.classes <= 1000000, "model: {} classes, expected 2 to 1000000",
          options.classes);
  require(options.image.rank() == 3 && options.image.numel() > 0, "model: images of {}, expected {{H, W, C}}",
          options.image.str());
}

}  // namespace

std::unique_ptr<ModelFamily> find_family(const std::string& name) {
  if (const auto it = families().find(name); it != families().end()) return it->second();
  if (name.starts_with("wrn_"))
    return std::make_unique<PlainFamily>(
        [name](const ModelOptions& options) { return make_wrn(parse_wrn(name), options); });
  return nullptr;
}

std::unique_ptr<Network> make_model(const ModelFamily& family, const ModelOptions& options) {
  check_options(options);
  std::unique_ptr<Network> model = family.build(options);
  model->initialise(options.seed);
  model->to(options.device);
  return model;
}

std::unique_ptr<Network> make_model(const std::string& name, const ModelOptions& options) {
  const std::unique_ptr<ModelFamily> family = find_family(name);
  if (family == nullptr) {
    const std::vector<std::string> names = model_names();
    fail("unknown model '{}'; did you mean '{}'? (known: {})", name, nearest(name, names),
         fmt::join(names, ", "));
  }
  Options settings(name);
  settings.defaults(options.settings);
  family->declare(settings);
  return make_model(*family, options);
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : families()) names.push_back(name);
  names.emplace_back("wrn_D_K");
  return names;
}

}  // namespace generous

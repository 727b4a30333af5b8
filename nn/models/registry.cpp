#include "nn/models/registry.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>

#include "core/nearest.h"
#include "nn/models/cifar_resnet.h"
#include "nn/models/densenet.h"
#include "nn/models/mlp.h"
#include "nn/models/mobilenetv2.h"
#include "nn/models/net.h"
#include "nn/models/preresnet.h"
#include "nn/models/resnet.h"
#include "nn/models/resnext.h"
#include "nn/models/shufflenet.h"
#include "nn/models/shufflenetv2.h"
#include "nn/models/vgg.h"
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
    std::map<std::string, MakeFamily> models{{"net", make_net_family},
                                             {"mlp", plain(make_mlp)},
                                             {"resnext29", make_resnext_family},
                                             {"mobilenetv2", plain(make_mobilenetv2)},
                                             {"mobile_half", plain(make_mobile_half)},
                                             {"shufflev1", plain(make_shufflev1)},
                                             {"shufflev2", plain(make_shufflev2)},
                                             {"shufflenetv2", make_shufflenetv2_family}};
    const auto add_resnet = [&models](const std::string& name, const ResNetSpec& spec) {
      models[name] = plain([spec](const ModelOptions& options) { return make_resnet(spec, options); });
    };
    for (const int depth : {18, 34, 50, 101, 152})
      add_resnet("resnet" + std::to_string(depth), resnet_spec(depth));
    for (const int depth : {8, 14, 20, 32, 44, 56, 110})
      add_resnet("resnet" + std::to_string(depth), cifar_resnet_spec(depth, false));
    for (const int depth : {8, 32})
      add_resnet("resnet" + std::to_string(depth) + "x4", cifar_resnet_spec(depth, true));
    for (const int depth : {20, 32, 44, 56, 110})
      models["preresnet" + std::to_string(depth)] =
          plain([depth](const ModelOptions& options) { return make_preresnet(depth, options); });
    for (const int depth : {8, 11, 13, 16, 19})
      for (const bool norms : {false, true})
        models["vgg" + std::to_string(depth) + (norms ? "_bn" : "")] =
            plain([depth, norms](const ModelOptions& options) { return make_vgg(depth, norms, options); });
    for (const int depth : {121, 161, 169, 201})
      models["densenet" + std::to_string(depth)] =
          plain([depth](const ModelOptions& options) { return make_densenet(depth, options); });
    for (const std::string ratio : {"0.5", "1.5", "2"})
      models["shufflenetv2_" + ratio] = plain([ratio = std::stod(ratio)](const ModelOptions& options) {
        return make_shufflenetv2(ratio, options);
      });
    return models;
  }();
  return table;
}

/// In small letters, without what separates words.
std::string plain(std::string_view name) {
  std::string letters;
  for (const unsigned char c : name)
    if (std::isalnum(c) != 0 || c == '.') letters += static_cast<char>(std::tolower(c));
  return letters;
}

/// Its digits, sorted, or else the rest of it.
std::string part_of(std::string_view name, bool digits) {
  std::string part;
  for (const unsigned char c : name)
    if ((std::isdigit(c) != 0) == digits) part += static_cast<char>(c);
  if (digits) std::ranges::sort(part);
  return part;
}

/// The model whose name was written another way or with one slip; "" for a name that may well be that of a
/// network which is not here.
std::string misspelt(const std::string& name, const std::vector<std::string>& names) {
  const std::string asked = plain(name);
  for (const std::string& known : names)
    if (plain(known) == asked) return known;
  std::string wide = name;
  for (char& c : wide) c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (wide.starts_with("wrn_")) return wide;
  for (const std::string_view elsewhere : {"resnext", "resnest"})
    if (part_of(asked, false) == elsewhere) return {};
  for (const std::string& known : names)
    if (part_of(plain(known), true) == part_of(asked, true) && edit_distance(plain(known), asked) <= 1)
      return known;
  return {};
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
    const std::string meant = misspelt(name, names);
    fail("unknown model '{}'{} (known: {})", name,
         meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant), fmt::join(names, ", "));
  }
  Options settings(name);
  settings.defaults(options.settings);
  family->declare(settings);
  return make_model(*family, options);
}

void check_poolings(const std::string& model, const Shape& image, std::int64_t poolings) {
  const std::int64_t least = std::int64_t{1} << poolings;
  require(image[0] >= least && image[1] >= least,
          "{}: images of {} are too small for {} poolings of 2x2: at least {}x{}", model, image.str(),
          poolings, least, least);
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : families()) names.push_back(name);
  names.emplace_back("wrn_D_K");
  return names;
}

}  // namespace generous

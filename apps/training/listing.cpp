#include "apps/training/listing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/autograd.h"
#include "core/profiling_backend.h"
#include "data/dataset.h"
#include "nn/distill/methods.h"
#include "nn/models/registry.h"

namespace generous {

namespace {

/// Of the convolutions and linear layers for one image, by a dry run.
std::int64_t multiply_adds(Network& model, const Shape& image) {
  const NoGrad no_grad;
  model.eval();
  ProfileScope profile(Device::cpu);
  model(Tensor::zeros({1, image[0], image[1], image[2]}));
  std::int64_t count = 0;
  for (const ConvolutionCall& call : profile.take().convolutions)
    count += call.y.numel() * call.weight[1] * call.weight[2] * call.weight[3];
  for (const StateEntry& entry : model.parameters())
    if (entry.tensor.shape().rank() == 2) count += entry.tensor.numel();  // {out, in}, used once
  return count;
}

std::string models(const DatasetInfo& dataset) {
  const Shape image = dataset.image.rank() == 3 ? dataset.image : Shape{32, 32, 3};
  const ModelOptions options{.classes = dataset.classes > 0 ? dataset.classes : 10, .image = image};
  std::string text =
      fmt::format("for images of {} x {} x {}, {} classes\n", image[0], image[1], image[2], options.classes);
  for (const std::string& name : model_names()) {
    if (name.ends_with("_D_K")) {  // a pattern
      text += fmt::format("{:<16} with depth D = 6n + 4 and widening factor K, such as wrn_16_2\n", name);
      continue;
    }
    try {
      const std::unique_ptr<Network> model = make_model(name, options);
      text += fmt::format("{:<16} {:>12} parameters {:>14} multiply-adds\n", name, model->parameter_count(),
                          multiply_adds(*model, image));
    } catch (const Error& error) {
      text += fmt::format("{:<16} {}\n", name, error.what());
    }
  }
  return text;
}

std::string datasets() {
  std::string text;
  for (const std::string& name : dataset_names()) {
    const DatasetInfo& info = dataset_info(name);
    const std::string sizes =
        info.classes > 0
            ? fmt::format("{} training and {} test images of {} x {} x {}, {} classes", info.train_images,
                          info.test_images, info.image[0], info.image[1], info.image[2], info.classes)
            : "any images train/CLASS/*.jpg and test/CLASS/*.png";
    const std::string folder = info.default_folder.empty() ? "--data_dir" : info.default_folder.string();
    text += fmt::format("{:<14} {}; {}\n", name, sizes, folder);
  }
  return text;
}

/// A value of params.json as one types it: a string without its quotes.
std::string as_typed(const std::string& json) {
  return json.starts_with('"') ? json.substr(1, json.size() - 2) : json;
}

std::string methods_text() {
  std::string text;
  for (const MethodEntry& entry : methods()) {
    Options options(entry.name);
    const std::unique_ptr<Method> method = entry.make();
    method->declare(options);
    std::vector<std::string> defaults;
    for (const SettingValue& setting : options.settings())
      defaults.push_back(fmt::format("{} {}", setting.key, as_typed(setting.json)));
    text += fmt::format("{:<10} {}{}{}\n", entry.name, entry.paper, defaults.empty() ? "" : "; ",
                        fmt::join(defaults, ", "));
  }
  return text;
}

}  // namespace

void ListSettings::declare(Options& options) {
  options.group("run");
  options.add("list", list,
              {.help = "print what there is to choose from, and stop",
               .choices = {"models", "datasets", "methods"},
               .role = Role::call});
}

std::string ListSettings::text(const std::string& dataset) const {
  if (list == "models") return models(dataset_info(dataset.empty() ? "cifar10" : dataset));
  return list == "datasets" ? datasets() : methods_text();
}

}  // namespace generous

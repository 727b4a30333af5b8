#include "apps/training/recipe.h"

namespace generous {

namespace {

bool has_many_classes(const std::string& dataset) {
  return dataset == "cifar100" || dataset == "tiny_imagenet";
}

}  // namespace

std::map<std::string, std::string> recipe(const std::string& model_name, const std::string& dataset) {
  std::map<std::string, std::string> values;
  const bool small = model_name == "net" || model_name == "mlp";  // Adam at a constant rate
  if (small)
    values = {{"optimizer", "adam"}, {"learning_rate", "0.001"}, {"weight_decay", "0"},
              {"schedule", "999"},   {"gamma", "0.1"},           {"num_epochs", "100"}};
  if (has_many_classes(dataset))  // what is there already stays
    values.insert({{"schedule", "60,120,160"}, {"gamma", "0.2"}, {"num_epochs", "200"}});
  return values;
}

std::map<std::string, std::string> method_recipe(const std::string& method, const std::string& dataset) {
  const bool of_paper = method == "kd" || method == "generous";
  if (of_paper && has_many_classes(dataset)) return {{"temperature", "20"}};
  return {};
}

}  // namespace generous

#include "apps/training/recipe.h"

namespace generous {

std::map<std::string, std::string> recipe(const std::string& model_name, const std::string& dataset) {
  std::map<std::string, std::string> values;
  const bool small = model_name == "net" || model_name == "mlp";  // Adam at a constant rate
  if (small)
    values = {{"optimizer", "adam"}, {"learning_rate", "0.001"}, {"weight_decay", "0"},
              {"schedule", "999"},   {"gamma", "0.1"},           {"num_epochs", "100"}};
  const bool many_classes = dataset == "cifar100" || dataset == "tiny_imagenet";
  if (many_classes)  // what is there already stays
    values.insert(
        {{"schedule", "60,120,160"}, {"gamma", "0.2"}, {"num_epochs", "200"}, {"temperature", "20"}});
  return values;
}

}  // namespace generous

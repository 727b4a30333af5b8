// The recipes of the paper.
#pragma once

#include <map>
#include <string>

namespace generous {

/// The defaults of a training run with this model and dataset, where they are not the settings' own: for
/// Options::defaults.
std::map<std::string, std::string> recipe(const std::string& model_name, const std::string& dataset);
/// The same of the settings of the paper's own methods, kd and generous.
std::map<std::string, std::string> method_recipe(const std::string& method, const std::string& dataset);

}  // namespace generous

#include "apps/training/optimization.h"

namespace generous {

void OptimizerSettings::declare(Options& options) {
  constexpr double most = 1e6;  // far from any overflow
  options.group("training");
  options.add("optimizer", optimizer, {.help = "the optimiser", .choices = {"sgd", "adam"}});
  options.add("learning_rate", learning_rate, {.help = "initial learning rate", .min = 0, .max = most});
  options.add("schedule", schedule,
              {.help = "epochs at which the learning rate is multiplied by gamma, such as 80,120",
               .min = 0,
               .max = most});
  options.add("gamma", gamma, {.help = "factor of the learning rate at those epochs", .min = 0, .max = 1});
  options.add("momentum", momentum, {.help = "sgd only", .min = 0, .max = 0.999999});
  options.add("weight_decay", weight_decay,
              {.help = "this times the parameter is added to its gradient", .min = 0, .max = 1000});
  options.add("nesterov", nesterov, {.help = "sgd only"});
}

std::unique_ptr<Optimizer> OptimizerSettings::make(std::vector<StateEntry> parameters) const {
  const auto decay = static_cast<float>(weight_decay);
  if (optimizer == "adam") return make_adam(std::move(parameters), {.weight_decay = decay});
  return make_sgd(std::move(parameters),
                  {.momentum = static_cast<float>(momentum), .weight_decay = decay, .nesterov = nesterov});
}

}  // namespace generous

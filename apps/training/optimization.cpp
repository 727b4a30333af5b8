#include "apps/training/optimization.h"

#include <utility>

#include "core/counted.h"

namespace generous {

void OptimizerSettings::declare(Options& options) {
  constexpr double most = 1e6;  // far from any overflow
  options.group("training");
  options.add("optimizer", optimizer,
              {.help = "the optimiser", .choices = {"sgd", "adam", "adamw", "dot", "deepkd"}});
  options.add("learning_rate", learning_rate, {.help = "initial learning rate", .min = 0, .max = most});
  options.add("lr_schedule", lr_schedule,
              {.help = "how it falls: at the epochs of schedule, or as half a cosine over all epochs",
               .choices = {"multistep", "cosine"}});
  const bool is_cosine = lr_schedule == "cosine";
  if (is_cosine) {
    options.add("lr_warmup", cosine.warmup,
                {.help = "epochs over which the learning rate first grows in a line", .min = 0, .max = most});
    options.add("lr_start_factor", cosine.start_factor,
                {.help = "factor of the learning rate at the start of the warm-up", .min = 0, .max = 1});
    options.add("lr_least", cosine.least,
                {.help = "learning rate that the cosine falls to", .min = 0, .max = most});
  }
  options.add("schedule", schedule,
              {.help = "epochs at which the learning rate is multiplied by gamma, such as 80,120",
               .min = 0,
               .max = most,
               .role = is_cosine ? Role::unused : Role::setting});
  options.add("gamma", gamma,
              {.help = "factor of the learning rate at those epochs",
               .min = 0,
               .max = 1000,
               .role = is_cosine ? Role::unused : Role::setting});
  options.add("momentum", momentum, {.help = "sgd, dot and deepkd only", .min = 0, .max = 0.999999});
  options.add("weight_decay", weight_decay,
              {.help = "this times the parameter is added to its gradient", .min = 0, .max = 1000});
  options.add("nesterov", nesterov, {.help = "sgd only"});
  options.add(
      "ema_decay", ema_decay,
      {.help = "D: the average of the weights becomes D average + (1 - D) weights after each step; it "
               "is measured and saved beside them; 0: none",
       .min = 0,
       .max = 0.9999999});
  if (optimizer == "dot")
    options.add(
        "dot_delta", dot_delta,
        {.help = "dot: what the momentum of the task is smaller and that of the distillation is larger",
         .min = 0,
         .max = 0.5});
  if (optimizer == "deepkd")
    for (const auto& [key, value] : {std::pair{"delta_task", &delta_task},
                                     {"delta_target", &delta_target},
                                     {"delta_non_target", &delta_non_target}})
      options.add(
          key, *value,
          {.help = "deepkd: what the momentum of this part of the loss is larger", .min = -0.5, .max = 0.5});
}

std::unique_ptr<Optimizer> OptimizerSettings::make(std::vector<StateEntry> parameters) const {
  const auto decay = static_cast<float>(weight_decay);
  if (optimizer == "adam" || optimizer == "adamw")
    return make_adam(std::move(parameters), {.weight_decay = decay, .decoupled = optimizer == "adamw"});
  if (optimizer == "dot") {
    require(dot_delta <= momentum && momentum + dot_delta < 1.0,
            "dot_delta: {} leaves the momenta {} and {}, which have to be from 0 to below 1", dot_delta,
            momentum - dot_delta, momentum + dot_delta);
    return make_dot(std::move(parameters), {.momentum = static_cast<float>(momentum),
                                            .delta = static_cast<float>(dot_delta),
                                            .weight_decay = decay});
  }
  if (optimizer == "deepkd") {
    for (const double delta : {delta_task, delta_target, delta_non_target})
      require(momentum + delta >= 0.0 && momentum + delta < 1.0,
              "deepkd: a momentum of {} and {} more is {}, which has to be from 0 to below 1", momentum,
              delta, momentum + delta);
    return make_deepkd(std::move(parameters), {.momentum = static_cast<float>(momentum),
                                               .delta_task = static_cast<float>(delta_task),
                                               .delta_target = static_cast<float>(delta_target),
                                               .delta_non_target = static_cast<float>(delta_non_target),
                                               .weight_decay = decay});
  }
  return make_sgd(std::move(parameters),
                  {.momentum = static_cast<float>(momentum), .weight_decay = decay, .nesterov = nesterov});
}

std::unique_ptr<WeightAverage> OptimizerSettings::make_average(const Module& module) const {
  return ema_decay > 0.0 ? std::make_unique<WeightAverage>(module, ema_decay) : nullptr;
}

Schedule OptimizerSettings::learning_rates(std::int64_t num_epochs) const {
  if (lr_schedule == "multistep") return MultiStepSchedule{learning_rate, schedule, gamma};
  require(cosine.warmup < num_epochs,
          "lr_warmup: {} of warm-up, and there are only {} in all: give a smaller one",
          counted(cosine.warmup, "epoch"), num_epochs);
  CosineSchedule result = cosine;
  result.base = learning_rate;
  result.epochs = num_epochs;
  return result;
}

}  // namespace generous

// The optimiser and its learning rate.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "nn/optim.h"
#include "nn/schedule.h"
#include "nn/weight_average.h"

namespace generous {

struct OptimizerSettings {
  std::string optimizer = "sgd";
  double learning_rate = 0.1;
  std::string lr_schedule = "multistep";
  std::vector<std::int64_t> schedule = {80, 120};
  double gamma = 0.1;
  CosineSchedule cosine = {};
  double momentum = 0.9;
  double weight_decay = 5e-4;
  bool nesterov = false;
  double dot_delta = 0.075;
  double delta_task = 0.075;
  double delta_target = -0.075;
  double delta_non_target = 0.075;
  double ema_decay = 0.0;

  void declare(Options& options);
  std::unique_ptr<Optimizer> make(std::vector<StateEntry> parameters) const;
  /// Of the module's weights, which must be where they stay; null without one. The module must outlive it.
  std::unique_ptr<WeightAverage> make_average(const Module& module) const;
  /// Of a run of so many epochs. Throws Error for a warm-up that leaves none of them.
  Schedule learning_rates(std::int64_t num_epochs) const;
};

}  // namespace generous

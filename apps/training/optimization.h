// The optimiser and its learning rate.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "nn/optim.h"
#include "nn/schedule.h"

namespace generous {

struct OptimizerSettings {
  std::string optimizer = "sgd";
  double learning_rate = 0.1;
  std::vector<std::int64_t> schedule = {80, 120};
  double gamma = 0.1;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  bool nesterov = false;

  void declare(Options& options);
  std::unique_ptr<Optimizer> make(std::vector<StateEntry> parameters) const;
  MultiStepSchedule learning_rates() const { return {learning_rate, schedule, gamma}; }
};

}  // namespace generous

// The average of a network's weights over the steps of its training.
#pragma once

#include <string>
#include <vector>

#include "nn/module.h"
#include "nn/state_dict.h"

namespace generous {

/// average <- decay average + (1 - decay) weight after every step; the first one copies the weight.
/// (PyTorch's AveragedModel with an exponential average.) Running statistics of batch norm are averaged as
/// weights are, so that they fit them; counters are the module's. All on the module's device, by kernels
/// alone once the first step is done, so that a step can be recorded.
class WeightAverage {
 public:
  /// `module` must outlive it and stay on its device.
  WeightAverage(const Module& module, double decay);

  /// After a step.
  void update();
  /// The module has the averages from now on and they are its weights; once more brings both back.
  void exchange();

  /// The averages, as the module has what they are of.
  const std::vector<StateEntry>& entries() const { return averages_; }
  /// As a state dict of the module.
  NamedTensors state() const { return state_dict(averages_); }
  /// Throws Error on other names or shapes.
  void load_state(const NamedTensors& tensors, const std::string& source);

 private:
  double decay_;
  std::vector<StateEntry> weights_;
  std::vector<StateEntry> averages_;
  bool begun_ = false;
};

}  // namespace generous

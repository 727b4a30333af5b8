// Gradients of a batch that passes in slices: those of its slices, added up in their order.
#pragma once

#include <vector>

#include "nn/module.h"

namespace generous {

class GradientSum {
 public:
  /// Of these parameters, for each of so many losses whose gradients are kept apart.
  GradientSum(std::vector<StateEntry> parameters, std::size_t losses);

  /// Takes what the parameters have accumulated as the gradients of a slice, and adds them to those of loss
  /// `loss`. A single slice's stay as they are: in bf16, if the backend left them so; sums are f32.
  void take(std::size_t loss);
  /// Gives the sums of loss `loss` back to the parameters; those that no slice had a gradient of have none.
  void give(std::size_t loss);

 private:
  std::vector<StateEntry> parameters_;
  std::vector<std::vector<Tensor>> sums_;  ///< of each loss, for each parameter
};

}  // namespace generous

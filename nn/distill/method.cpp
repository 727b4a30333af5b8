#include "nn/distill/method.h"

namespace generous {

Tensor Method::forward(const Tensor& /*x*/) { fail("a distillation method has no forward: it has a loss"); }

float warmup_factor(std::int64_t epoch, std::int64_t warmup_epochs) {
  if (epoch >= warmup_epochs) return 1.0F;
  return static_cast<float>(epoch) / static_cast<float>(warmup_epochs);
}

std::vector<StateEntry> parameters_of(const Network& student, const Method& method) {
  std::vector<StateEntry> all = student.parameters();
  for (StateEntry& entry : method.parameters()) {
    entry.name = "method." + entry.name;
    all.push_back(std::move(entry));
  }
  return all;
}

}  // namespace generous

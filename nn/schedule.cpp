#include "nn/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace generous {

float MultiStepSchedule::learning_rate(std::int64_t epoch) const {
  const auto passed =
      std::count_if(milestones.begin(), milestones.end(), [epoch](std::int64_t m) { return m <= epoch; });
  return static_cast<float>(base * std::pow(gamma, static_cast<double>(passed)));
}

float CosineSchedule::learning_rate(std::int64_t epoch) const {
  if (epoch < warmup) {
    const double part = static_cast<double>(epoch) / static_cast<double>(warmup);
    return static_cast<float>(base * (start_factor + (1.0 - start_factor) * part));
  }
  const double part = static_cast<double>(epoch - warmup) / static_cast<double>(epochs - warmup);
  return static_cast<float>(least + (base - least) * (1.0 + std::cos(std::numbers::pi * part)) / 2.0);
}

}  // namespace generous

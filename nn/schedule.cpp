#include "nn/schedule.h"

#include <algorithm>
#include <cmath>

namespace generous {

float MultiStepSchedule::learning_rate(std::int64_t epoch) const {
  const auto passed =
      std::count_if(milestones.begin(), milestones.end(), [epoch](std::int64_t m) { return m <= epoch; });
  return static_cast<float>(base * std::pow(gamma, static_cast<double>(passed)));
}

}  // namespace generous

// Learning-rate schedules: pure functions of the epoch.
#pragma once

#include <cstdint>
#include <vector>

namespace generous {

/// base * gamma^(number of milestones <= epoch); epochs count from 0.
struct MultiStepSchedule {
  double base = 0.1;
  std::vector<std::int64_t> milestones;  ///< in any order
  double gamma = 0.1;

  float learning_rate(std::int64_t epoch) const;
};

}  // namespace generous

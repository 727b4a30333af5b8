// Learning-rate schedules: pure functions of the epoch.
#pragma once

#include <cstdint>
#include <vector>

namespace generous {

/// base * gamma^(number of milestones <= epoch); epochs count from 0.
struct MultiStepSchedule {
  float base = 0.1F;
  std::vector<std::int64_t> milestones;  ///< in any order
  float gamma = 0.1F;

  float learning_rate(std::int64_t epoch) const;
};

}  // namespace generous

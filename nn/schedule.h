// Learning-rate schedules: pure functions of the epoch, which counts from 0.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

namespace generous {

/// base * gamma^(number of milestones <= epoch).
struct MultiStepSchedule {
  double base = 0.1;
  std::vector<std::int64_t> milestones;  ///< in any order
  double gamma = 0.1;

  float learning_rate(std::int64_t epoch) const;
};

/// From base * start_factor to base in a line over the first `warmup` epochs, then down half a cosine, which
/// reaches `least` with the end of the last of `epochs` epochs. (Loshchilov & Hutter, "SGDR", 2017; PyTorch's
/// LinearLR, then CosineAnnealingLR)
struct CosineSchedule {
  double base = 0.1;
  std::int64_t epochs = 1;
  std::int64_t warmup = 0;
  double start_factor = 0.01;
  double least = 0.0;

  float learning_rate(std::int64_t epoch) const;
};

using Schedule = std::variant<MultiStepSchedule, CosineSchedule>;

inline float learning_rate(const Schedule& schedule, std::int64_t epoch) {
  return std::visit([epoch](const auto& s) { return s.learning_rate(epoch); }, schedule);
}

}  // namespace generous

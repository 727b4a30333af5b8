// Mean and deviation of an image's logits.
#pragma once

#include <cmath>
#include <span>

namespace generous {

/// `deviation` divides by C - 1, as std_rows does; 0 of one class.
struct Spread {
  double mean = 0.0;
  double deviation = 0.0;
};

/// Of logits z {C}, in double precision.
inline Spread spread_of(std::span<const float> z) {
  const auto count = static_cast<double>(z.size());
  Spread spread;
  for (const float value : z) spread.mean += value;
  spread.mean /= count;  // of equal logits it is theirs to the bit
  double squares = 0.0;
  for (const float value : z) squares += (value - spread.mean) * (value - spread.mean);
  if (z.size() > 1) spread.deviation = std::sqrt(squares / (count - 1.0));
  return spread;
}

}  // namespace generous

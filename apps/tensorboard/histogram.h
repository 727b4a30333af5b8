// How numbers are distributed.
#pragma once

#include <span>
#include <vector>

namespace generous {

/// Bucket i counts the numbers above limits[i - 1], of the first one from `smallest` on, up to limits[i].
struct Histogram {
  double smallest = 0.0;
  double largest = 0.0;
  double count = 0.0;
  double sum = 0.0;
  double sum_of_squares = 0.0;
  std::vector<double> limits;  ///< growing; the last one is `largest`
  std::vector<double> counts;
};

/// Thirty buckets of equal width from the smallest to the largest of the numbers, which are finite; one where
/// all are equal, none for no numbers.
Histogram histogram_of(std::span<const float> numbers);

}  // namespace generous

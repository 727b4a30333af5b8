#include "apps/tensorboard/histogram.h"

#include <algorithm>
#include <cmath>

namespace generous {

Histogram histogram_of(std::span<const float> numbers) {
  Histogram histogram;
  if (numbers.empty()) return histogram;
  const auto [smallest, largest] = std::ranges::minmax(numbers);
  histogram.smallest = smallest;
  histogram.largest = largest;
  histogram.count = static_cast<double>(numbers.size());
  const std::size_t buckets = smallest == largest ? 1 : 30;
  const double width = (histogram.largest - histogram.smallest) / static_cast<double>(buckets);
  for (std::size_t i = 1; i < buckets; ++i)
    histogram.limits.push_back(histogram.smallest + width * static_cast<double>(i));
  histogram.limits.push_back(histogram.largest);
  histogram.counts.resize(buckets);
  for (const double number : numbers) {
    histogram.sum += number;
    histogram.sum_of_squares += number * number;
    // By division first, which is quick; then as the limits have it, to the bit.
    std::size_t bucket =
        width > 0 ? std::min(static_cast<std::size_t>((number - histogram.smallest) / width), buckets - 1)
                  : 0;
    while (bucket > 0 && number <= histogram.limits[bucket - 1]) --bucket;
    while (bucket + 1 < buckets && number > histogram.limits[bucket]) ++bucket;
    ++histogram.counts[bucket];
  }
  return histogram;
}

}  // namespace generous

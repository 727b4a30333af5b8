#include "apps/evaluation/image_measures.h"

#include <algorithm>
#include <cmath>

#include "apps/training/spread.h"

namespace generous {

namespace {

/// H(z) = exp(z - largest) / total.
struct Softmax {
  explicit Softmax(std::span<const float> z) : largest(*std::ranges::max_element(z)) {
    for (const float value : z) total += std::exp(value - largest);
    log_total = std::log(total);
  }
  double minus_log_of(float logit) const { return log_total - (logit - largest); }

  double largest;
  double total = 0.0;
  double log_total = 0.0;
};

/// Entropy of H(z / temperature) over all classes but the label's: with u = (z - max) / T and S = sum exp(u)
/// it is log S - sum u exp(u) / S.
double entropy_of_others(std::span<const float> z, std::size_t label, double temperature) {
  if (z.size() < 2) return 0.0;
  if (temperature == 0.0) return std::log(static_cast<double>(z.size() - 1));
  double largest = z[label == 0 ? 1 : 0];
  for (std::size_t c = 0; c < z.size(); ++c)
    if (c != label) largest = std::max<double>(largest, z[c]);
  double total = 0.0;
  double weighted = 0.0;
  for (std::size_t c = 0; c < z.size(); ++c) {
    if (c == label) continue;
    const double u = (z[c] - largest) / temperature;
    total += std::exp(u);
    weighted += u * std::exp(u);
  }
  return std::log(total) - weighted / total;
}

/// How many classes come before this one in the order of falling logits.
std::int64_t classes_before(std::span<const float> z, std::size_t label) {
  std::int64_t before = 0;
  for (std::size_t c = 0; c < z.size(); ++c)
    if (z[c] > z[label] || (z[c] == z[label] && c < label)) ++before;
  return before;
}

}  // namespace

ImageMeasures measure_image(std::span<const float> logits, std::int64_t label) {
  const auto place = static_cast<std::size_t>(label);
  const auto largest = std::ranges::max_element(logits);
  const Softmax softmax(logits);
  const Spread spread = spread_of(logits);
  return {.label = label,
          .predicted = largest - logits.begin(),
          .in_top5 = classes_before(logits, place) < 5,
          .loss = softmax.minus_log_of(logits[place]),
          .confidence = 1.0 / softmax.total,
          .logit_mean = spread.mean,
          .logit_deviation = spread.deviation,
          .non_target_entropy = entropy_of_others(logits, place, 1.0),
          .non_target_entropy_at_sigma = entropy_of_others(logits, place, spread.deviation)};
}

double divergence(std::span<const float> p, std::span<const float> q) {
  const Softmax of_p(p);
  const Softmax of_q(q);
  double sum = 0.0;
  for (std::size_t c = 0; c < p.size(); ++c)
    sum += std::exp(-of_p.minus_log_of(p[c])) * (of_q.minus_log_of(q[c]) - of_p.minus_log_of(p[c]));
  return std::max(sum, 0.0);  // rounding
}

}  // namespace generous

// What the logits of one image say, in double precision. H is the softmax; all logits are finite.
#pragma once

#include <cstdint>
#include <span>

namespace generous {

/// Of logits z {C} for an image of class `label`. Its other classes, C - 1, make the non-target distribution.
struct ImageMeasures {
  std::int64_t label = 0;
  std::int64_t predicted = 0;  ///< the class of the largest logit, of equal ones the first
  bool in_top5 = false;        ///< `label` is among the five largest; of equal ones the first classes are
  double loss = 0.0;           ///< -log H(z)[label]
  double confidence = 0.0;     ///< H(z)[predicted]
  double logit_mean = 0.0;     ///< of all classes
  double logit_deviation =
      0.0;  ///< sigma, of which the generous teacher's temperature is a multiple: over C - 1
  double non_target_entropy = 0.0;           ///< of H over the other classes, in nats; 0 of one class
  double non_target_entropy_at_sigma = 0.0;  ///< of H at the temperature sigma; equal logits: uniform
};
ImageMeasures measure_image(std::span<const float> logits, std::int64_t label);

/// KL(H(p) || H(q)) of logits p and q {C}, in nats.
double divergence(std::span<const float> p, std::span<const float> q);

}  // namespace generous

// Images mixed in pairs: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019). One formula for both: with a
// mask m and another image x' of the same batch, m x + (1 - m) x', and the labels share the loss in the
// proportion of the mask's mean.
#pragma once

#include <cstdint>

#include "core/random.h"
#include "core/tensor.h"

namespace generous {

/// The parameters A of lambda ~ Beta(A, A); 0: no such mixing. With both, each batch is mixed in one of the
/// two ways, with probability 1/2.
struct MixingOptions {
  double mixup = 0.0;
  double cutmix = 0.0;

  bool on() const { return mixup > 0.0 || cutmix > 0.0; }
};

/// How one batch {B, H, W, C} is mixed.
struct Mixture {
  Tensor mask;    ///< f32 {1, H, W, 1} of [0, 1]: mixup: lambda everywhere; CutMix: 0 in a box, else 1
  Tensor others;  ///< i64 {B}: a permutation of the batch, whose images are mixed in
};

/// The mixture of step `step` of the run, on the host: a function of the options, the stream, the step and
/// the shape of the batch {B, H, W, C} alone. CutMix's box has the sides H sqrt(1 - lambda) and W sqrt(1 -
/// lambda), rounded down, and its centre anywhere; what lies outside the image is cut off.
Mixture draw_mixture(const MixingOptions& options, const Random& random, std::int64_t step,
                     const Shape& batch);

/// images f32 {B, H, W, C}, mixed as `mixture`, which is on their device, says.
Tensor mix_images(const Tensor& images, const Mixture& mixture);
/// i64 {B}: the labels, of so many classes, of the images that are mixed in.
Tensor labels_mixed_in(const Tensor& labels, std::int64_t classes, const Mixture& mixture);

}  // namespace generous

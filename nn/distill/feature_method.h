// What methods that compare features share. Features are {N, H, W, C} in the dtype that the networks compute
// in, as is what connectors make of them, or {N, C} and f32 where they are pooled. Sums are f32, and all that
// is computed from them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nn/distill/method.h"

namespace generous {

/// CE + weight * what the features say.
class FeatureMethod : public Method {
 public:
  /// Declares `weight`.
  void declare(Options& options) override;
  Needs needs() const override { return {.features = true}; }
  std::vector<std::string> terms() const override { return {"cross_entropy", name_}; }
  Loss loss(const DistillBatch& batch) final;

 protected:
  FeatureMethod(std::string name, double weight) : name_(std::move(name)), weight_(weight) {}
  /// {}: what is multiplied by the weight.
  virtual Tensor knowledge(const DistillBatch& batch) = 0;

  std::string name_;
  double weight_;
  float ce_weight_ = 1.0F;
};

/// The same feature of both networks.
struct FeaturePair {
  Tensor student;
  Tensor teacher;
};
using FeaturePairs = std::vector<FeaturePair>;

/// Both in f32.
FeaturePair in_f32(const FeaturePair& pair);

/// The stages without the stem, one pair each. Where one network has more stages, its first ones are left
/// out. Throws Error with the method's name for a network that shows no stages of images.
FeaturePairs stage_pairs(std::string_view method, const Outputs& student, const Outputs& teacher);
/// The same before the stages' last ReLU; in networks whose stages do not end in one, the stages themselves.
FeaturePairs before_relu_pairs(std::string_view method, const Outputs& student, const Outputs& teacher);
/// The last stage.
FeaturePair last_pair(std::string_view method, const Outputs& student, const Outputs& teacher);
/// What the classifiers see, in f32.
FeaturePair pooled_pair(std::string_view method, const Outputs& student, const Outputs& teacher);

/// {N, H, W, C}, f32: what the average before the classifier is taken of; with `before_relu` where a network
/// has it.
Tensor classified_images(const Features& features);

/// Images of the same size: the larger one averaged down to the smaller one's.
FeaturePair pool_to_smaller(const FeaturePair& pair);

/// max(x, floor), with gradient where x is larger.
Tensor at_least(const Tensor& x, float floor);
/// x / |x|, where |x| has the shape `norms`: the root of the sum of the squares over the other axes. 0, and
/// without gradient, where |x| is below 1e-12.
Tensor l2_normalise(const Tensor& x, const Shape& norms);
/// The same of each row of x {M, D}.
Tensor l2_rows(const Tensor& x);
/// {}: mean (a - b)^2
Tensor mean_squared_error(const Tensor& a, const Tensor& b);

}  // namespace generous

#include "nn/distill/nst.h"

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

/// The channels of images as vectors: x {N, H W, C}, and their norms {N, C}, at least 1e-12.
struct Channels {
  explicit Channels(const Tensor& images)
      : x(reshape(images, {images.size(0), images.size(1) * images.size(2), images.size(3)})),
        norm(reshape(sqrt(at_least(sum_to(square(x), {x.size(0), 1, x.size(2)}), 1e-24F)),
                     {x.size(0), x.size(2)})) {}
  Tensor x;
  Tensor norm;
};

/// {}: the mean over images and pairs of channels of <a, b>^2 / (|a| |b|)^2. The small matrices of products
/// are divided, not the images.
Tensor mean_kernel(const Channels& a, const Channels& b) {
  const Tensor products = batched_matmul(a.x, b.x, true, false);  // {N, C_a, C_b}
  const Tensor cosines = products / reshape(a.norm, {a.norm.size(0), a.norm.size(1), 1}) /
                         reshape(b.norm, {b.norm.size(0), 1, b.norm.size(1)});
  return mean(square(cosines));
}

class Nst : public FeatureMethod {
 public:
  Nst() : FeatureMethod("nst", 50.0) {}
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    stage_pairs("nst", student, teacher);
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    Tensor sum;
    for (const FeaturePair& stage : stage_pairs("nst", batch.student[0], batch.teacher[0])) {
      const FeaturePair same = in_f32(pool_to_smaller(stage));
      const Tensor term = nst_loss(same.student, same.teacher);
      sum = sum.defined() ? sum + term : term;
    }
    return sum;
  }
};

}  // namespace

Tensor nst_loss(const Tensor& student, const Tensor& teacher) {
  const Channels s(student);
  const Channels t(teacher);
  return mean_kernel(t, t) + mean_kernel(s, s) - 2.0F * mean_kernel(s, t);
}

std::unique_ptr<Method> make_nst() { return std::make_unique<Nst>(); }

}  // namespace generous

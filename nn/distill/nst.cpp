#include "nn/distill/nst.h"

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

/// Images as x {N, H W, C}, a channel's map a column, and the columns' norms {N, 1, C}, at least 1e-12.
struct Channels {
  explicit Channels(const Tensor& images)
      : x(reshape(images, {images.size(0), images.size(1) * images.size(2), images.size(3)})),
        norm(sqrt(at_least(sum_to(square(x), {x.size(0), 1, x.size(2)}), 1e-24F))) {}
  std::int64_t pixels() const { return x.size(1); }
  std::int64_t count() const { return x.size(2); }
  Tensor x;
  Tensor norm;
};

/// {}: the mean over images and pairs of channels of <a, b>^2 / (|a| |b|)^2. The small matrices of products
/// are divided, not the images.
Tensor mean_kernel(const Channels& a, const Channels& b) {
  const Tensor products = batched_matmul(a.x, b.x, true, false);  // {N, C_a, C_b}
  const Tensor cosines = products / reshape(a.norm, {a.norm.size(0), a.count(), 1}) / b.norm;
  return mean(square(cosines));
}

/// {N, H W, H W}: the mean over channels of u u', where u is a channel's map divided by its norm.
Tensor mean_of_pixel_products(const Channels& a) {
  const Tensor unit = a.x / a.norm;
  return batched_matmul(unit, unit, false, true) / static_cast<float>(a.count());
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

// <u, v>^2 is the sum over pairs of pixels of (u u') (v v'), so the loss is also the squared distance of two
// H W x H W matrices: less to compute where pixels are few beside channels.
Tensor nst_loss(const Tensor& student, const Tensor& teacher) {
  const Channels s(student);
  const Channels t(teacher);
  const std::int64_t n_s = s.count();
  const std::int64_t n_t = t.count();
  if (s.pixels() * (n_s + n_t) < n_s * n_s + n_s * n_t + n_t * n_t) {
    const Tensor difference = mean_of_pixel_products(s) - mean_of_pixel_products(t);
    return sum(square(difference)) / static_cast<float>(student.size(0));
  }
  return mean_kernel(t, t) + mean_kernel(s, s) - 2.0F * mean_kernel(s, t);
}

std::unique_ptr<Method> make_nst() { return std::make_unique<Nst>(); }

}  // namespace generous

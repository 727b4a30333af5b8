#include "nn/distill/rkd.h"

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

/// {B, B}, 0 on the diagonal, 1 on average beside it.
Tensor relative_distances(const Pairs& pairs, bool squared, float eps) {
  const std::int64_t batch = pairs.squares.size(0);
  const Tensor squares = reshape(pairs.squares, {batch, batch});
  const Tensor held = at_least(squares, eps);
  const Tensor distances = step(squares.detach()) * (squared ? held : sqrt(held));
  const Tensor average = sum(distances) / static_cast<float>(batch * (batch - 1));
  return distances / at_least(average, 1e-20F);  // 0 where all samples are the same
}

/// {B, B, B}: the cosines, 0 where two samples are the same.
Tensor angles(const Pairs& pairs) {
  constexpr float smallest = 1e-24F;
  const Tensor apart = step(pairs.squares.detach() - smallest);
  const Tensor directions = pairs.differences * (apart / sqrt(at_least(pairs.squares, smallest)));
  return batched_matmul(directions, directions, false, true);
}

class Rkd : public FeatureMethod {
 public:
  Rkd() : FeatureMethod("rkd", 1.0) {}
  Needs needs() const override { return {.features = true, .relational = true}; }
  void declare(Options& options) override {
    options.add("distance_weight", distance_weight_,
                {.help = "weight of the distances between samples", .min = 0, .max = 1e6});
    options.add("angle_weight", angle_weight_,
                {.help = "weight of the angles between three samples", .min = 0, .max = 1e6});
    options.add("squared", squared_, {.help = "squared distances"});
    options.add("eps", eps_, {.help = "smallest squared distance", .min = 1e-30, .max = 1});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    pooled_pair("rkd", student, teacher);
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair pooled = pooled_pair("rkd", batch.student[0], batch.teacher[0]);
    const Pairs student(pooled.student);
    const Pairs teacher(pooled.teacher);
    return static_cast<float>(distance_weight_) *
               rkd_distance_loss(student, teacher, squared_, static_cast<float>(eps_)) +
           static_cast<float>(angle_weight_) * rkd_angle_loss(student, teacher);
  }

 private:
  double distance_weight_ = 25.0;
  double angle_weight_ = 50.0;
  bool squared_ = false;
  double eps_ = 1e-12;
};

}  // namespace

Pairs::Pairs(const Tensor& x)
    : differences(reshape(x, {1, x.size(0), x.size(1)}) - reshape(x, {x.size(0), 1, x.size(1)})),
      squares(sum_to(square(differences), {x.size(0), x.size(0), 1})) {}

Tensor rkd_distance_loss(const Pairs& student, const Pairs& teacher, bool squared, float eps) {
  if (student.squares.size(0) == 1) return sum(student.squares);  // no pair, no distance
  return mean(
      smooth_l1(relative_distances(student, squared, eps) - relative_distances(teacher, squared, eps)));
}

Tensor rkd_angle_loss(const Pairs& student, const Pairs& teacher) {
  return mean(smooth_l1(angles(student) - angles(teacher)));
}

std::unique_ptr<Method> make_rkd() { return std::make_unique<Rkd>(); }

}  // namespace generous

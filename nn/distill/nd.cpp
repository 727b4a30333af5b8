#include "nn/distill/nd.h"

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

class Nd : public FeatureMethod {
 public:
  Nd() : FeatureMethod("nd", 2.0) {}
  Needs needs() const override { return {.features = true, .class_means = true, .one_label = true}; }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet& train) override {
    const FeaturePair pooled = pooled_pair("nd", student, teacher);
    const std::int64_t in = pooled.student.size(1);
    const std::int64_t out = pooled.teacher.size(1);
    centres_ = train.class_means;
    if (in == out) return;
    embed_ = &add<Sequential>("embed");
    embed_->append<BatchNorm>(in);
    embed_->append<Dropout>(0.5F);
    embed_->append<Linear>(in, out);
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair pooled = pooled_pair("nd", batch.student[0], batch.teacher[0]);
    const Tensor student = embed_ != nullptr ? (*embed_)(pooled.student) : pooled.student;
    return nd_loss(student, pooled.teacher, centres_, batch.labels.classes);
  }

 private:
  Sequential* embed_ = nullptr;
  Tensor centres_;  ///< {classes, D}: of the teacher and the training images alone, so no part of the state
};

}  // namespace

Tensor nd_loss(const Tensor& student, const Tensor& teacher, const Tensor& centres, const Tensor& labels) {
  const auto norms = [](const Tensor& x) { return sqrt(at_least(sum_rows(square(x)), 1e-24F)); };
  const Tensor s = norms(student);
  const Tensor t = norms(teacher);
  const Tensor larger = t + relu(s - t);
  const Tensor directions = gather_rows(l2_rows(centres), labels);
  return mean(-(sum_rows(student * directions) / larger) + 1.0F);
}

std::unique_ptr<Method> make_nd() { return std::make_unique<Nd>(); }

}  // namespace generous

#include "nn/distill/sp.h"

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

/// {B, B}, of features {B, ...}
Tensor similarities(const Tensor& features) {
  const Tensor flat = reshape(features, {features.size(0), features.numel() / features.size(0)});
  return l2_rows(matmul(flat, flat, false, true));
}

class Sp : public FeatureMethod {
 public:
  Sp() : FeatureMethod("sp", 3000.0) {}
  Needs needs() const override { return {.features = true, .relational = true}; }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    last_pair("sp", student, teacher);
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair last = in_f32(last_pair("sp", batch.student[0], batch.teacher[0]));
    return sp_loss(last.student, last.teacher);
  }
};

}  // namespace

Tensor sp_loss(const Tensor& student, const Tensor& teacher) {
  return mean_squared_error(similarities(student), similarities(teacher));
}

std::unique_ptr<Method> make_sp() { return std::make_unique<Sp>(); }

}  // namespace generous

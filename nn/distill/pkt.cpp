#include "nn/distill/pkt.h"

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

/// {B, B}: how probable each sample (column) is beside another (row).
Tensor affinities(const Tensor& x, float eps) {
  const Tensor norm = sqrt(at_least(sum_rows(square(x)), 1e-24F));  // the root has a gradient at 0, too
  const Tensor direction = x / (norm + eps);
  const Tensor similarity = (matmul(direction, direction, false, true) + 1.0F) / 2.0F;
  return similarity / sum_rows(similarity);
}

class Pkt : public FeatureMethod {
 public:
  Pkt() : FeatureMethod("pkt", 30000.0) {}
  Needs needs() const override { return {.features = true, .relational = true}; }
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("eps", eps_, {.help = "added to norms and probabilities", .min = 1e-12, .max = 1});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    pooled_pair("pkt", student, teacher);
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair pooled = pooled_pair("pkt", batch.student[0], batch.teacher[0]);
    return pkt_loss(pooled.student, pooled.teacher, static_cast<float>(eps_));
  }

 private:
  double eps_ = 1e-7;
};

}  // namespace

Tensor pkt_loss(const Tensor& student, const Tensor& teacher, float eps) {
  const Tensor s = affinities(student, eps);
  const Tensor t = affinities(teacher, eps);
  return mean(t * log((t + eps) / (s + eps)));
}

std::unique_ptr<Method> make_pkt() { return std::make_unique<Pkt>(); }

}  // namespace generous

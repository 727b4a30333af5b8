#include "nn/distill/at.h"

#include "nn/distill/feature_method.h"

namespace generous {

Tensor attention_map(const Tensor& x, std::int64_t p) {
  Tensor power = p == 1 ? x : square(x);
  for (std::int64_t i = 2; i < p; ++i) power = power * x;
  const Tensor map = sum_to(power, {x.size(0), x.size(1), x.size(2), 1}) / static_cast<float>(x.size(3));
  return l2_rows(reshape(map, {x.size(0), x.size(1) * x.size(2)}));
}

namespace {

class At : public FeatureMethod {
 public:
  At() : FeatureMethod("at", 1000.0) {}
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("p", p_, {.help = "the power of the features in an attention map", .min = 1, .max = 16});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    stage_pairs("at", student, teacher);  // or says why not
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    Tensor sum;
    for (const FeaturePair& stage : stage_pairs("at", batch.student[0], batch.teacher[0])) {
      const FeaturePair same = pool_to_smaller(stage);
      const Tensor term =
          mean_squared_error(attention_map(same.student, p_), attention_map(same.teacher, p_));
      sum = sum.defined() ? sum + term : term;
    }
    return sum;
  }

 private:
  std::int64_t p_ = 2;
};

}  // namespace

std::unique_ptr<Method> make_at() { return std::make_unique<At>(); }

}  // namespace generous

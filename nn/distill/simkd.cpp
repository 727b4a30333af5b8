#include "nn/distill/simkd.h"

#include "nn/reused_classifier.h"

namespace generous {
namespace {

class SimKd : public FeatureMethod {
 public:
  SimKd() : FeatureMethod("simkd", 1.0) { ce_weight_ = 0.0F; }
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("factor", factor_,
                {.help = "by which the projector is narrower inside than the teacher", .min = 1, .max = 64});
  }
  Needs needs() const override { return {.features = true, .classifiers = true}; }
  std::unique_ptr<Network> student(std::unique_ptr<Network> student, const Outputs& of_student,
                                   const Outputs& of_teacher, std::uint64_t seed) override {
    const FeaturePair last = last_pair("simkd", of_student, of_teacher);
    const Classifier& classifier = of_teacher.classifier;
    require(last.teacher.size(3) == classifier.weight.size(1),
            "simkd: the teacher's classifier takes {} channels, its last stage {} has others: it cannot be "
            "reused behind that",
            classifier.weight.size(1), last.teacher.shape().str());
    require(last.teacher.size(3) >= factor_, "simkd: factor {} leaves nothing of the teacher's {} channels",
            factor_, last.teacher.size(3));
    auto built = std::make_unique<ReusedClassifier>(
        std::move(student), ReusedClassifierOptions{.in = last.student.size(3),
                                                    .channels = last.teacher.size(3),
                                                    .factor = factor_,
                                                    .height = last.teacher.size(1),
                                                    .width = last.teacher.size(2),
                                                    .classes = classifier.weight.size(0)});
    built->head().initialise(seed);
    built->head().to(last.student.device());
    built->head().reuse(classifier);
    return built;
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    return simkd_loss(last_pair("simkd", batch.student[0], batch.teacher[0]));
  }

 private:
  std::int64_t factor_ = 2;
};

}  // namespace

Tensor simkd_loss(const FeaturePair& last) {
  const FeaturePair same = pool_to_smaller(last);
  return mean_squared_error(same.student, same.teacher);
}

std::unique_ptr<Method> make_simkd() { return std::make_unique<SimKd>(); }

}  // namespace generous

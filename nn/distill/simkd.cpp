#include "nn/distill/simkd.h"

#include "nn/distill/feature_method.h"

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
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    const FeaturePair last = last_pair("simkd", student, teacher);
    require(last.teacher.size(3) >= factor_, "simkd: factor {} leaves nothing of the teacher's {} channels",
            factor_, last.teacher.size(3));
    transfer_ = &add<Projector>("transfer", last.student.size(3), last.teacher.size(3), factor_);
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair same = pool_to_smaller(last_pair("simkd", batch.student[0], batch.teacher[0]));
    return mean_squared_error((*transfer_)(same.student), same.teacher);
  }

 private:
  std::int64_t factor_ = 2;
  Projector* transfer_ = nullptr;
};

}  // namespace

Projector::Projector(std::int64_t in, std::int64_t out, std::int64_t factor) {
  const std::int64_t narrow = out / factor;
  const auto layer = [this](const Conv2dOptions& options) {
    append<Conv2d>(options);
    append<BatchNorm>(options.out);
    append<ReLU>();
  };
  layer(conv1x1(in, narrow, 1, Conv2dOptions::Weights::fan_in));
  layer(conv3x3(narrow, narrow, 1, Conv2dOptions::Weights::fan_in));
  layer(conv1x1(narrow, out, 1, Conv2dOptions::Weights::fan_in));
}

std::unique_ptr<Method> make_simkd() { return std::make_unique<SimKd>(); }

}  // namespace generous

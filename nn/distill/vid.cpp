#include "nn/distill/vid.h"

#include <cmath>

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

class Vid : public FeatureMethod {
 public:
  Vid() : FeatureMethod("vid", 1.0) {}
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("init_pred_var", variance_, {.help = "the variance to start with", .min = 1e-3, .max = 80});
    options.add("eps", eps_, {.help = "smallest variance", .min = 1e-9, .max = 1e-3});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    const auto start = static_cast<float>(std::log(std::expm1(variance_ - eps_)));
    for (const FeaturePair& stage : stage_pairs("vid", student, teacher)) {
      const std::int64_t width = stage.teacher.size(3);
      const std::string number = std::to_string(regressors_.size());
      log_scales_.push_back(add_parameter("log_scales." + number, {width}, Init::constant(start)));
      Sequential& regressor = add<Sequential>("regressors." + number);
      regressor.append<Conv2d>(conv1x1(stage.student.size(3), width, 1, Conv2dOptions::Weights::fan_in));
      for (int layer = 1; layer < 3; ++layer) {
        regressor.append<ReLU>();
        regressor.append<Conv2d>(conv1x1(width, width, 1, Conv2dOptions::Weights::fan_in));
      }
      regressors_.push_back(&regressor);
    }
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    Tensor sum;
    const FeaturePairs stages = stage_pairs("vid", batch.student[0], batch.teacher[0]);
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const FeaturePair same = pool_to_smaller(stages[i]);
      const Tensor variance = softplus(log_scales_[i]) + static_cast<float>(eps_);
      const Tensor term = vid_loss((*regressors_[i])(same.student), same.teacher, variance);
      sum = sum.defined() ? sum + term : term;
    }
    return sum;
  }

 private:
  double variance_ = 5.0;
  double eps_ = 1e-5;
  std::vector<Tensor> log_scales_;
  std::vector<Sequential*> regressors_;
};

}  // namespace

Tensor vid_loss(const Tensor& mu, const Tensor& teacher, const Tensor& variance) {
  const auto pixels = static_cast<float>(mu.numel() / mu.size(3));
  const Tensor squares = sum_to(square(mu - teacher), variance.shape()) / pixels;  // means of each channel
  return mean(squares / variance + log(variance)) / 2.0F;
}

std::unique_ptr<Method> make_vid() { return std::make_unique<Vid>(); }

}  // namespace generous

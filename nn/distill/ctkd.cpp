#include "nn/distill/ctkd.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {
namespace {

/// x, whose gradient is multiplied by `factor`.
Tensor scale_gradient(const Tensor& x, float factor) { return factor * x + (1.0F - factor) * x.detach(); }

}  // namespace

Loss ctkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const Tensor& theta, const CtkdOptions& options) {
  const LogitPair z =
      compared_logits("ctkd_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const Tensor t =
      scale_gradient(static_cast<float>(options.range) * sigmoid(theta) + static_cast<float>(options.first),
                     static_cast<float>(options.lambda));
  const Tensor log_p = log_softmax(z.teacher / t);
  const Tensor log_q = log_softmax(z.student / t);

  const Tensor ce = task_loss(student_logits, labels);
  const Tensor kd = square(t) * mean(kl_divergence_rows(log_p, log_q));
  return {.task = static_cast<float>(options.ce_weight) * ce,
          .distillation = static_cast<float>(options.weight) * kd,
          .terms = {ce, kd, t},
          .flat_rows = z.flat_rows};
}

double ctkd_lambda(std::int64_t epoch, std::int64_t epochs) {
  if (epoch + 1 >= epochs) return -1.0;
  const double progress = static_cast<double>(epoch + 1) / static_cast<double>(epochs);
  return -(1.0 - std::cos(std::numbers::pi * progress)) / 2.0;
}

namespace {

class Ctkd : public Method {
 public:
  void declare(Options& options) override {
    options.add("weight", options_.weight, {.help = "of the distillation term", .min = 0, .max = 1e6});
    options.add("ce_weight", options_.ce_weight, {.help = "of cross-entropy", .min = 0, .max = 1000});
    options.add("temperature_first", options_.first,
                {.help = "the smallest temperature", .min = 0.001, .max = 1000});
    options.add("temperature_range", options_.range,
                {.help = "how far above it the temperature may be", .min = 0, .max = 1000});
    options.add("curriculum", curriculum_epochs_,
                {.help = "epochs in which the temperature's resistance grows", .min = 0, .max = 1e6});
    declare_logit_stand(options, options_.logit_stand);
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "kd", "temperature"}; }
  std::int64_t loss_since(std::int64_t epoch) const override {
    return warmup_since(epoch, std::max<std::int64_t>(0, curriculum_epochs_ - 1));
  }
  Loss loss(const DistillBatch& batch) override {
    options_.lambda = ctkd_lambda(batch.epoch, curriculum_epochs_);
    return ctkd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, theta_, options_);
  }

 private:
  CtkdOptions options_;
  std::int64_t curriculum_epochs_ = 10;
  Tensor theta_ =
      add_parameter("theta", {}, Init::constant(1.0F));  // decays like every other parameter, as published
};

}  // namespace

std::unique_ptr<Method> make_ctkd() { return std::make_unique<Ctkd>(); }

}  // namespace generous

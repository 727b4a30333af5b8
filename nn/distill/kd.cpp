#include "nn/distill/kd.h"

#include "nn/distill/logits.h"

namespace generous {

Loss kd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
             const KdOptions& options) {
  const LogitPair z =
      compared_logits("kd_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const auto alpha = static_cast<float>(options.alpha);
  const Tensor ce = task_loss(student_logits, labels);
  const Tensor kd = distillation_kl(z, static_cast<float>(options.temperature));
  return {
      .task = (1.0F - alpha) * ce, .distillation = alpha * kd, .terms = {ce, kd}, .flat_rows = z.flat_rows};
}

namespace {

class Kd : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    options.add("alpha", options_.alpha,
                {.help = "weight of the distillation term; cross-entropy has the rest", .min = 0, .max = 1});
    declare_logit_stand(options, options_.logit_stand);
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "kd"}; }
  Loss loss(const DistillBatch& batch) override {
    return kd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  KdOptions options_;
};

}  // namespace

std::unique_ptr<Method> make_kd() { return std::make_unique<Kd>(); }

}  // namespace generous

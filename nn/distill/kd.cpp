#include "nn/distill/kd.h"

#include "nn/losses.h"

namespace generous {

Loss kd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
             const KdOptions& options) {
  check_logits("kd_loss", student_logits, teacher_logits);
  const float t = options.temperature;
  const float alpha = options.alpha;
  const Tensor log_p = log_softmax(teacher_logits.detach() / t);
  const Tensor log_q = log_softmax(student_logits / t);

  const Tensor ce = cross_entropy(student_logits, labels);
  const Tensor kd = t * t * mean(kl_divergence_rows(log_p, log_q));
  return {.task = (1.0F - alpha) * ce, .distillation = alpha * kd, .terms = {ce, kd}};
}

namespace {

class Kd : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", temperature_,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    options.add("alpha", alpha_,
                {.help = "weight of the distillation term; cross-entropy has the rest", .min = 0, .max = 1});
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "kd"}; }
  Loss loss(const DistillBatch& batch) override {
    return kd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels,
                   {.temperature = static_cast<float>(temperature_), .alpha = static_cast<float>(alpha_)});
  }

 private:
  double temperature_ = 4.0;
  double alpha_ = 0.9;
};

}  // namespace

std::unique_ptr<Method> make_kd() { return std::make_unique<Kd>(); }

}  // namespace generous

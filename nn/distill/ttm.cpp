#include "nn/distill/ttm.h"

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {

Loss ttm_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
              const TtmOptions& options) {
  const LogitPair z =
      compared_logits("ttm_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const Tensor log_power = static_cast<float>(options.gamma) * log_softmax(z.teacher);  // log p^gamma
  Tensor kl = kl_divergence_rows(log_softmax(log_power), log_softmax(z.student));
  if (options.weighted) kl = sum_rows(exp(log_power)) * kl;

  const Tensor ce = task_loss(student_logits, labels);
  const Tensor kd = mean(kl);
  return {.task = ce,
          .distillation = static_cast<float>(options.weight) * kd,
          .terms = {ce, kd},
          .flat_rows = z.flat_rows};
}

namespace {

class Ttm : public Method {
 public:
  explicit Ttm(const TtmOptions& options) : options_(options) {}
  void declare(Options& options) override {
    options.add("power", options_.gamma,
                {.help = "power of the teacher's probabilities", .min = 0.001, .max = 1000});
    options.add("weight", options_.weight, {.help = "of the distillation term", .min = 0, .max = 1e6});
    declare_logit_stand(options, options_.logit_stand);
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "kd"}; }
  Loss loss(const DistillBatch& batch) override {
    return ttm_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  TtmOptions options_;
};

}  // namespace

std::unique_ptr<Method> make_ttm() { return std::make_unique<Ttm>(TtmOptions{}); }
std::unique_ptr<Method> make_wttm() {
  return std::make_unique<Ttm>(TtmOptions{.gamma = 0.2, .weight = 4.0, .weighted = true});
}

}  // namespace generous

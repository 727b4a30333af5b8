#include "nn/distill/nkd.h"

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {

Loss nkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
              const NkdOptions& options) {
  const LogitPair z =
      compared_logits("nkd_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const auto t = static_cast<float>(options.temperature);
  const Tensor target = one_hot(labels.classes, student_logits.size(1));
  const Tensor n_t = exp(log_softmax_of_others(z.teacher / t, target));
  const Tensor log_n_s = log_softmax_of_others(z.student / t, target);

  const Tensor ce = task_loss(student_logits, labels);
  const Tensor of_target = weighted_target_loss(z, target);
  const Tensor of_others = -(t * t) * mean(sum_rows(n_t * log_n_s));
  return {.task = ce,
          .distillation = of_target + static_cast<float>(options.gamma) * of_others,
          .terms = {ce, of_target, of_others},
          .flat_rows = z.flat_rows};
}

namespace {

class Nkd : public Method {
 public:
  void declare(Options& options) override {
    options.add("non_target_weight", options_.gamma,
                {.help = "weight of what the teacher says of the other classes", .min = 0, .max = 1000});
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities of these", .min = 0.001, .max = 1000});
    declare_logit_stand(options, options_.logit_stand);
  }
  Needs needs() const override { return {.one_label = true}; }
  std::vector<std::string> terms() const override { return {"cross_entropy", "target", "others"}; }
  Loss loss(const DistillBatch& batch) override {
    return nkd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  NkdOptions options_;
};

}  // namespace

std::unique_ptr<Method> make_nkd() { return std::make_unique<Nkd>(); }

}  // namespace generous

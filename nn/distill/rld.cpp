#include "nn/distill/rld.h"

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {

Loss rld_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
              const RldOptions& options) {
  const LogitPair z =
      compared_logits("rld_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const std::int64_t classes = student_logits.size(1);
  const Tensor target = one_hot(labels.classes, classes);
  const Tensor largest = one_hot(argmax_rows(z.teacher), classes);
  // Where no class is left, all are masked alike and both networks agree.
  const Tensor of_label = sum_rows(z.teacher * target);      // {B, 1}
  const Tensor masked = -step(of_label - z.teacher) + 1.0F;  // {B, C}

  const auto t_c = static_cast<float>(options.sample_temperature);
  const Tensor scd = t_c * t_c *
                     mean(kl_divergence_rows(split_target(log_softmax(z.teacher / t_c), largest),
                                             split_target(log_softmax(z.student / t_c), target)));
  const auto t = static_cast<float>(options.temperature);
  const Tensor mcd = t * t *
                     mean(kl_divergence_rows(log_softmax_of_others(z.teacher / t, masked),
                                             log_softmax_of_others(z.student / t, masked)));
  const Tensor ce = task_loss(student_logits, labels);
  return {.task = ce,
          .distillation = static_cast<float>(options.warmup * options.alpha) * scd +
                          static_cast<float>(options.warmup * options.beta) * mcd,
          .terms = {ce, scd, mcd},
          .flat_rows = z.flat_rows};
}

namespace {

class Rld : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of the other classes' probabilities", .min = 0.001, .max = 1000});
    options.add("sample_temperature", options_.sample_temperature,
                {.help = "temperature of the confidences", .min = 0.001, .max = 1000});
    options.add("alpha", options_.alpha, {.help = "weight of the confidences", .min = 0, .max = 1000});
    options.add("beta", options_.beta, {.help = "weight of the other classes", .min = 0, .max = 1000});
    options.add("warmup", warmup_epochs_,
                {.help = "epochs in which both weights grow to their values", .min = 0, .max = 1e6});
    declare_logit_stand(options, options_.logit_stand);
  }
  Needs needs() const override { return {.one_label = true}; }
  std::vector<std::string> terms() const override { return {"cross_entropy", "scd", "mcd"}; }
  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_epochs_); }
  Loss loss(const DistillBatch& batch) override {
    options_.warmup = warmup_from_one(batch.epoch, warmup_epochs_);
    return rld_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  RldOptions options_;
  std::int64_t warmup_epochs_ = 20;
};

}  // namespace

std::unique_ptr<Method> make_rld() { return std::make_unique<Rld>(); }

}  // namespace generous

#include "nn/distill/dkd.h"

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {

DkdRows dkd_rows(const Tensor& student, const Tensor& teacher, const Tensor& target) {
  const TargetSplit p = split_target(log_softmax(teacher), target);
  const TargetSplit q = split_target(log_softmax(student), target);
  return {.target = kl_divergence_rows(p, q),
          .others = kl_divergence_rows(log_softmax_of_others(teacher, target),
                                       log_softmax_of_others(student, target))};
}

Loss dkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
              const DkdOptions& options) {
  const LogitPair z =
      compared_logits("dkd_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const auto t = static_cast<float>(options.temperature);
  const Tensor target = one_hot(labels.classes, student_logits.size(1));
  const DkdRows rows = dkd_rows(z.student / t, z.teacher / t, target);

  const Tensor ce = task_loss(student_logits, labels);
  const Tensor tckd = t * t * mean(rows.target);
  const Tensor nckd = t * t * mean(rows.others);
  const auto alpha = static_cast<float>(options.warmup * options.alpha);
  const auto beta = static_cast<float>(options.warmup * options.beta);
  return {.task = ce,
          .distillation = alpha * tckd,
          .non_target = beta * nckd,
          .terms = {ce, tckd, nckd},
          .flat_rows = z.flat_rows};
}

void declare_dkd_weights(Options& options, double& alpha, double& beta, std::int64_t& warmup_epochs) {
  options.add("alpha", alpha,
              {.help = "weight of what the teacher says of the label's class", .min = 0, .max = 1000});
  options.add("beta", beta, {.help = "weight of what it says of the other classes", .min = 0, .max = 1000});
  options.add("warmup", warmup_epochs,
              {.help = "epochs in which both weights grow to their values", .min = 0, .max = 1e6});
}

namespace {

class Dkd : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    declare_dkd_weights(options, options_.alpha, options_.beta, warmup_epochs_);
    declare_logit_stand(options, options_.logit_stand);
  }
  std::size_t losses() const override { return 3; }
  Needs needs() const override { return {.one_label = true}; }
  std::vector<std::string> terms() const override { return {"cross_entropy", "tckd", "nckd"}; }
  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_epochs_); }
  Loss loss(const DistillBatch& batch) override {
    options_.warmup = warmup_from_one(batch.epoch, warmup_epochs_);
    return dkd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  DkdOptions options_;
  std::int64_t warmup_epochs_ = 20;
};

}  // namespace

std::unique_ptr<Method> make_dkd() { return std::make_unique<Dkd>(); }

}  // namespace generous

#include "nn/distill/generous.h"

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {

NckdLoss nckd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                   float tn) {
  check_logits("nckd_loss", student_logits, teacher_logits);
  const Tensor target = one_hot(labels, student_logits.size(1));
  const LogitPair z = with_spread(student_logits, teacher_logits, target);

  const Tensor t_s = tn * std_rows(z.student);  // {B, 1}
  const Tensor t_t = tn * std_rows(z.teacher);
  const Tensor log_p = log_softmax_of_others(z.teacher / t_t, target);
  const Tensor log_q = log_softmax_of_others(z.student / t_s, target);
  return {.nckd = mean(z.kept * square(t_t) * kl_divergence_rows(log_p, log_q)), .flat_rows = z.flat_rows};
}

Loss generous_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                   const GenerousOptions& options) {
  const Tensor ce = cross_entropy(student_logits, labels);
  const auto [nckd, flat_rows] = nckd_loss(student_logits, teacher_logits, labels, options.tn);
  return {.task = ce,
          .distillation = options.alpha * options.warmup * nckd,
          .terms = {ce, nckd},
          .flat_rows = flat_rows};
}

namespace {

class Generous : public Method {
 public:
  void declare(Options& options) override {
    options.add(
        "Tn", tn_,
        {.help = "temperature in units of the logits' standard deviation", .min = 0.001, .max = 1000});
    options.add("alpha", alpha_, {.help = "weight of the non-target knowledge", .min = 0, .max = 1000});
    options.add("warmup", warmup_epochs_,
                {.help = "epochs in which that weight grows to alpha", .min = 0, .max = 1e6});
    // The paper's files have these for this stage too.
    options.add("temperature", unused_temperature_, {.help = "", .min = 0, .max = 1e6, .role = Role::unused});
    options.add("weight", unused_weight_, {.help = "", .min = 0, .max = 1e6, .role = Role::unused});
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "nckd"}; }
  Loss loss(const DistillBatch& batch) override {
    return generous_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels,
                         {.tn = static_cast<float>(tn_),
                          .alpha = static_cast<float>(alpha_),
                          .warmup = warmup_factor(batch.epoch, warmup_epochs_)});
  }

 private:
  double tn_ = 1.0;
  double alpha_ = 1.0;
  std::int64_t warmup_epochs_ = 20;
  double unused_temperature_ = 0.0;
  double unused_weight_ = 0.0;
};

}  // namespace

std::unique_ptr<Method> make_generous() { return std::make_unique<Generous>(); }

}  // namespace generous

#include "nn/distill/generous.h"

#include "nn/losses.h"

namespace generous {
namespace {

/// Pushes the label's logit so far down that its probability vanishes: the rest is the non-target
/// distribution.
constexpr float mask = 1e30F;

/// Below this many times the mean of a row, its deviation is nothing but rounding.
constexpr float rounding = 1e-6F;

/// {B, 1}: 0 for the rows of z that have no spread, otherwise 1; NaN where z has one. No gradient.
Tensor has_spread(const Tensor& z) {
  const NoGrad no_grad;
  return step(square(std_rows(z)) - rounding * rounding * square(mean_rows(z)));
}

/// z with other rows in place of those whose `kept` {B, 1} is 0.
Tensor replace_rows(const Tensor& z, const Tensor& kept, const Tensor& others) {
  return z * kept + others * (-kept + 1.0F);
}

}  // namespace

NckdLoss nckd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                   float tn) {
  check_logits("nckd_loss", student_logits, teacher_logits);
  const Tensor target = one_hot(labels, student_logits.size(1));
  // A row without spread would divide by 0, and 0 times that is no number: the one-hot row, whose terms are
  // finite, stands in for it.
  const Tensor kept = has_spread(student_logits) * has_spread(teacher_logits);  // {B, 1}
  const Tensor z_s = replace_rows(student_logits, kept, target);
  const Tensor z_t = replace_rows(teacher_logits.detach(), kept, target);

  const Tensor t_s = tn * std_rows(z_s);  // {B, 1}
  const Tensor t_t = tn * std_rows(z_t);
  const Tensor log_p = log_softmax(z_t / t_t - mask * target);
  const Tensor log_q = log_softmax(z_s / t_s - mask * target);
  return {.nckd = mean(kept * square(t_t) * kl_divergence_rows(log_p, log_q)),
          .flat_rows = sum(-kept + 1.0F)};
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

float warmup_factor(std::int64_t epoch, std::int64_t warmup_epochs) {
  if (epoch >= warmup_epochs) return 1.0F;
  return static_cast<float>(epoch) / static_cast<float>(warmup_epochs);
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

#include "nn/distill/normkd.h"

#include "nn/distill/dkd.h"
#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {
namespace {

struct Normed {
  LogitPair z;    ///< divided by their temperatures
  Tensor weight;  ///< {B, 1}: T_t^2
};

Normed normed(std::string_view loss, const Tensor& student, const Tensor& teacher, const Tensor& labels,
              double tn, bool standardise) {
  check_logits(loss, student, teacher);
  const Tensor target = one_hot(labels, student.size(1));
  LogitPair z =
      standardise ? standardised_pair(student, teacher, target) : with_spread(student, teacher, target);
  const Tensor t_s = static_cast<float>(tn) * std_rows(z.student);
  const Tensor t_t = static_cast<float>(tn) * std_rows(z.teacher);
  z.student = z.student / t_s;
  z.teacher = z.teacher / t_t;
  return {.z = z, .weight = square(t_t)};
}

}  // namespace

Loss normkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                 const NormKdOptions& options) {
  const auto [z, weight] =
      normed("normkd_loss", student_logits, teacher_logits, labels.classes, options.tn, options.logit_stand);
  const auto alpha = static_cast<float>(options.alpha);
  const Tensor ce = task_loss(student_logits, labels);
  const Tensor kd = mean(weight * kl_rows_at(z, 1.0F));
  return {
      .task = (1.0F - alpha) * ce, .distillation = alpha * kd, .terms = {ce, kd}, .flat_rows = z.flat_rows};
}

Loss normkd_dkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                     const NormKdDkdOptions& options) {
  const auto [z, weight] = normed("normkd_dkd_loss", student_logits, teacher_logits, labels.classes,
                                  options.tn, options.logit_stand);
  const DkdRows rows = dkd_rows(z.student, z.teacher, one_hot(labels.classes, student_logits.size(1)));
  const Tensor ce = task_loss(student_logits, labels);
  const Tensor tckd = mean(weight * rows.target);
  const Tensor nckd = mean(weight * rows.others);
  const auto alpha = static_cast<float>(options.warmup * options.alpha);
  const auto beta = static_cast<float>(options.warmup * options.beta);
  return {.task = ce,
          .distillation = alpha * tckd + beta * nckd,
          .terms = {ce, tckd, nckd},
          .flat_rows = z.flat_rows};
}

namespace {

void declare_tn(Options& options, double& tn) {
  options.add("Tn", tn,
              {.help = "temperature in units of the logits' standard deviation", .min = 0.001, .max = 1000});
}

class NormKd : public Method {
 public:
  void declare(Options& options) override {
    declare_tn(options, options_.tn);
    options.add("alpha", options_.alpha,
                {.help = "weight of the distillation term; cross-entropy has the rest", .min = 0, .max = 1});
    declare_logit_stand(options, options_.logit_stand);
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "kd"}; }
  Loss loss(const DistillBatch& batch) override {
    return normkd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  NormKdOptions options_;
};

class NormKdDkd : public Method {
 public:
  void declare(Options& options) override {
    declare_tn(options, options_.tn);
    declare_dkd_weights(options, options_.alpha, options_.beta, warmup_epochs_);
    declare_logit_stand(options, options_.logit_stand);
  }
  Needs needs() const override { return {.one_label = true}; }
  std::vector<std::string> terms() const override { return {"cross_entropy", "tckd", "nckd"}; }
  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_epochs_); }
  Loss loss(const DistillBatch& batch) override {
    options_.warmup = warmup_from_one(batch.epoch, warmup_epochs_);
    return normkd_dkd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  NormKdDkdOptions options_;
  std::int64_t warmup_epochs_ = 20;
};

}  // namespace

std::unique_ptr<Method> make_normkd() { return std::make_unique<NormKd>(); }
std::unique_ptr<Method> make_normkd_dkd() { return std::make_unique<NormKdDkd>(); }

}  // namespace generous

#include "nn/distill/dtkd.h"

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {
Loss dtkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const DtkdOptions& options) {
  const LogitPair z =
      compared_logits("dtkd_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const auto t = static_cast<float>(options.temperature);
  const Tensor positive = step(max_rows(z.student.detach())) * step(max_rows(z.teacher));
  const LogitPair rows =
      replace_rows(z.student, z.teacher, positive, one_hot(labels.classes, student_logits.size(1)));
  const Tensor m_s = max_rows(rows.student);  // {B, 1}
  const Tensor m_t = max_rows(rows.teacher);
  const Tensor t_s = 2.0F * t * m_s / (m_s + m_t);
  const Tensor t_t = 2.0F * t * m_t / (m_s + m_t);
  const Tensor kl = kl_rows_at({.student = rows.student / t_s, .teacher = rows.teacher / t_t}, 1.0F);

  const Tensor ce = task_loss(student_logits, labels);
  const Tensor dynamic = mean(t_s * t_t * kl);
  const Tensor kd = distillation_kl(z, t);
  return {.task = ce,
          .distillation = static_cast<float>(options.warmup * options.alpha) * dynamic +
                          static_cast<float>(options.warmup * options.beta) * kd,
          .terms = {ce, dynamic, kd},
          .flat_rows = z.flat_rows.defined() ? z.flat_rows : rows.flat_rows};
}

namespace {

class Dtkd : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "mean temperature of both networks", .min = 0.001, .max = 1000});
    options.add("alpha", options_.alpha,
                {.help = "weight of the term with dynamic temperatures", .min = 0, .max = 1000});
    options.add("beta", options_.beta,
                {.help = "weight of the term with a fixed one", .min = 0, .max = 1000});
    options.add("warmup", warmup_epochs_,
                {.help = "epochs in which both weights grow to their values", .min = 0, .max = 1e6});
    declare_logit_stand(options, options_.logit_stand);
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "dynamic", "kd"}; }
  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_epochs_); }
  Loss loss(const DistillBatch& batch) override {
    options_.warmup = warmup_from_one(batch.epoch, warmup_epochs_);
    return dtkd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  DtkdOptions options_;
  std::int64_t warmup_epochs_ = 20;
};

}  // namespace

std::unique_ptr<Method> make_dtkd() { return std::make_unique<Dtkd>(); }

}  // namespace generous

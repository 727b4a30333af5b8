#include "nn/distill/generous.h"

#include "nn/distill/dkd.h"
#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {

namespace {

/// {B, 1}: what is absorbed of each row, of logits that are divided by their temperatures.
Tensor knowledge_rows(const Tensor& student, const Tensor& teacher, const Tensor& target,
                      const GenerousOptions& options) {
  if (options.knowledge == Knowledge::kl)
    return kl_divergence_rows(log_softmax(teacher), log_softmax(student));
  if (options.knowledge == Knowledge::dkd) {
    const DkdRows rows = dkd_rows(student, teacher, target);
    return rows.target + options.beta * rows.others;
  }
  return kl_divergence_rows(log_softmax_of_others(teacher, target), log_softmax_of_others(student, target));
}

NckdLoss absorbed(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                  const GenerousOptions& options) {
  const Tensor target = one_hot(labels, student_logits.size(1));
  if (const float t = options.temperature; t != 0.0F)
    return {.nckd = t * t *
                    mean(knowledge_rows(student_logits / t, teacher_logits.detach() / t, target, options)),
            .flat_rows = {}};
  const LogitPair z = with_spread(student_logits, teacher_logits, target);
  const Tensor t_s = options.tn * std_rows(z.student);  // {B, 1}
  const Tensor t_t = options.tn * std_rows(z.teacher);
  const Tensor rows = knowledge_rows(z.student / t_s, z.teacher / t_t, target, options);
  return {.nckd = mean(z.kept * square(t_t) * rows), .flat_rows = z.flat_rows};
}

}  // namespace

NckdLoss nckd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                   float tn) {
  check_logits("nckd_loss", student_logits, teacher_logits);
  return absorbed(student_logits, teacher_logits, labels, {.tn = tn});
}

Loss generous_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                   const GenerousOptions& options) {
  check_logits("generous_loss", student_logits, teacher_logits);
  const Tensor ce = task_loss(student_logits, labels);
  const auto [knowledge, flat_rows] = absorbed(student_logits, teacher_logits, labels.classes, options);
  return {.task = ce,
          .distillation = options.alpha * options.warmup * knowledge,
          .terms = {ce, knowledge},
          .flat_rows = flat_rows};
}

namespace {

class Generous : public Method {
 public:
  void declare(Options& options) override {
    options.add("knowledge", knowledge_,
                {.help = "what is absorbed: of the other classes, of all, or both parts of DKD",
                 .choices = {"nckd", "kl", "dkd"}});
    options.add(
        "temperature_mode", temperature_mode_,
        {.help = "temperatures of each image's logits, or one that is fixed", .choices = {"std", "fixed"}});
    const bool fixed = temperature_mode_ == "fixed";
    if (fixed)
      options.add("temperature", temperature_,
                  {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    options.add(
        "Tn", tn_,
        {.help = "temperature in units of the logits' standard deviation", .min = 0.001, .max = 1000});
    options.add("alpha", alpha_, {.help = "weight of the knowledge", .min = 0, .max = 1000});
    if (knowledge_ == "dkd")
      options.add("beta", beta_,
                  {.help = "dkd: weight of the other classes within it", .min = 0, .max = 1000});
    if (knowledge_ == "kl") warmup_epochs_ = 0;
    options.add("warmup", warmup_epochs_,
                {.help = "epochs in which that weight grows to alpha", .min = 0, .max = 1e6});
    // The paper's files have these for this stage too.
    if (!fixed)
      options.add("temperature", unused_temperature_,
                  {.help = "", .min = 0, .max = 1e6, .role = Role::unused});
    options.add("weight", unused_weight_, {.help = "", .min = 0, .max = 1e6, .role = Role::unused});
  }
  Needs needs() const override { return {.one_label = knowledge_ != "kl"}; }
  std::vector<std::string> terms() const override { return {"cross_entropy", knowledge_}; }
  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_epochs_); }
  Loss loss(const DistillBatch& batch) override {
    return generous_loss(
        batch.student[0].logits, batch.teacher[0].logits, batch.labels,
        {.tn = static_cast<float>(tn_),
         .temperature = temperature_mode_ == "fixed" ? static_cast<float>(temperature_) : 0.0F,
         .knowledge = kind(),
         .beta = static_cast<float>(beta_),
         .alpha = static_cast<float>(alpha_),
         .warmup = warmup_factor(batch.epoch, warmup_epochs_)});
  }

 private:
  Knowledge kind() const {
    if (knowledge_ == "kl") return Knowledge::kl;
    return knowledge_ == "dkd" ? Knowledge::dkd : Knowledge::nckd;
  }

  std::string knowledge_ = "nckd";
  std::string temperature_mode_ = "std";
  double temperature_ = 2.0;
  double beta_ = 8.0;
  double tn_ = 1.0;
  double alpha_ = 1.0;
  std::int64_t warmup_epochs_ = 20;
  double unused_temperature_ = 0.0;
  double unused_weight_ = 0.0;
};

}  // namespace

std::unique_ptr<Method> make_generous() { return std::make_unique<Generous>(); }

}  // namespace generous

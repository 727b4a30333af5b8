#include "nn/distill/lumi.h"

#include "nn/distill/logits.h"

namespace generous {
namespace {

/// z {B, C}, each column standardised.
Tensor perception(const Tensor& z) {
  const auto batch = static_cast<float>(z.size(0));
  const Shape columns{1, z.size(1)};
  const Tensor centred = z - sum_to(z, columns) / batch;
  const Tensor variance = sum_to(square(centred), columns) / batch;
  return centred / sqrt(variance + 1e-5F);
}

}  // namespace

Loss lumi_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const LumiOptions& options) {
  const LogitPair z =
      compared_logits("lumi_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const Tensor ce = task_loss(student_logits, labels);
  const Tensor kd = mean(kl_rows_at({.student = perception(z.student), .teacher = perception(z.teacher)},
                                    static_cast<float>(options.temperature)));
  return {.task = static_cast<float>(options.ce_weight) * ce,
          .distillation = static_cast<float>(options.warmup * options.alpha * options.alpha) * kd,
          .terms = {ce, kd},
          .flat_rows = z.flat_rows};
}

namespace {

class Lumi : public Method {
 public:
  Needs needs() const override { return {.relational = true}; }
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    options.add("alpha", options_.alpha,
                {.help = "its square is the weight of the distillation term", .min = 0, .max = 1000});
    options.add("ce_weight", options_.ce_weight, {.help = "of cross-entropy", .min = 0, .max = 1000});
    options.add("warmup", warmup_epochs_,
                {.help = "epochs in which the distillation term grows to its weight", .min = 0, .max = 1e6});
    declare_logit_stand(options, options_.logit_stand);
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "kd"}; }
  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_epochs_); }
  Loss loss(const DistillBatch& batch) override {
    options_.warmup = warmup_from_one(batch.epoch, warmup_epochs_);
    return lumi_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  LumiOptions options_;
  std::int64_t warmup_epochs_ = 20;
};

}  // namespace

std::unique_ptr<Method> make_lumi() { return std::make_unique<Lumi>(); }

}  // namespace generous

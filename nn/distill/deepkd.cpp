#include "nn/distill/deepkd.h"

#include "nn/distill/dkd.h"
#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {
namespace {

/// {B, C}: 1 for the k largest of each row (of equals all), otherwise 0. No gradient.
Tensor largest(const Tensor& z, std::int64_t k) {
  const NoGrad no_grad;
  const std::int64_t rows = z.size(0);
  const std::int64_t classes = z.size(1);
  const Tensor others = reshape(z, {rows, 1, classes});
  const Tensor larger = step(others - reshape(z, {rows, classes, 1}));  // {B, C, C}: [b, c, j]: z_j > z_c
  const Tensor rank = reshape(sum_rows(reshape(larger, {rows * classes, classes})), {rows, classes});
  return step(-rank + (static_cast<float>(k) - 0.5F));
}

}  // namespace

Loss deepkd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                 const DeepKdLossOptions& options) {
  const LogitPair z =
      compared_logits("deepkd_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const auto t = static_cast<float>(options.temperature);
  const Tensor z_s = z.student / t;
  const Tensor z_t = z.teacher / t;
  const Tensor target = one_hot(labels.classes, student_logits.size(1));
  const Tensor log_p = log_softmax(z_t);
  // 1 for the label, and for the classes that are not compared.
  Tensor masked = target;
  if (options.topk > 0) {
    const Tensor left_out = -largest(z.teacher, options.topk) + 1.0F;
    masked = step(target + left_out);
  }
  const Tensor of_target =
      kl_divergence_rows(split_target(log_p, target), split_target(log_softmax(z_s), target));
  const Tensor of_others =
      kl_divergence_rows(log_softmax_of_others(z_t, masked), log_softmax_of_others(z_s, masked));

  const Tensor ce = static_cast<float>(options.ce_weight) * task_loss(student_logits, labels);
  Tensor tckd = t * t * mean(of_target);
  Tensor nckd = t * t * mean(of_others);
  if (options.dkd) {
    tckd = static_cast<float>(options.warmup * options.alpha) * tckd;
    nckd = static_cast<float>(options.warmup * options.beta) * nckd;
  } else {
    const Tensor of_teacher = -sum_rows(exp(log_p) * target) + 1.0F;  // {B, 1}
    nckd = options.published ? nckd * mean(of_teacher) : t * t * mean(of_teacher * of_others);
  }
  return {.task = ce,
          .distillation = tckd,
          .non_target = nckd,
          .terms = {ce, tckd, nckd},
          .flat_rows = z.flat_rows};
}

namespace {

class DeepKd : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    options.add("ce_weight", options_.ce_weight,
                {.help = "weight of the cross-entropy", .min = 0, .max = 1000});
    options.add("topk", options_.topk,
                {.help = "other classes that are compared: among the teacher's so many largest; 0: all",
                 .min = 0,
                 .max = 1e6});
    options.add("dkd", options_.dkd, {.help = "the weights of DKD in place of those that KD has"});
    if (options_.dkd) declare_dkd_weights(options, options_.alpha, options_.beta, warmup_epochs_);
    if (!options_.dkd) declare_published(options, options_.published);
    declare_logit_stand(options, options_.logit_stand);
  }
  // KD's weight of the other classes is a mean over the batch itself.
  Needs needs() const override {
    return {.relational = !options_.dkd && options_.published, .one_label = true};
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "tckd", "nckd"}; }
  std::size_t losses() const override { return 3; }
  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_epochs_); }
  Loss loss(const DistillBatch& batch) override {
    options_.warmup = warmup_from_one(batch.epoch, warmup_epochs_);
    return deepkd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  DeepKdLossOptions options_;
  std::int64_t warmup_epochs_ = 20;
};

}  // namespace

std::unique_ptr<Method> make_deepkd_method() { return std::make_unique<DeepKd>(); }

}  // namespace generous

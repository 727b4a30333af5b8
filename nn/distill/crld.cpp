#include "nn/distill/crld.h"

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {
namespace {

/// {B, 1}: 1 where the largest probability of a row is at least `threshold`, otherwise 0.
Tensor confident(const Tensor& teacher_logits, double threshold) {
  const Tensor confidence = exp(max_rows(log_softmax(teacher_logits)));
  return -step(-confidence + static_cast<float>(threshold)) + 1.0F;
}

}  // namespace

Loss crld_loss(const TwoViews& logits, const Labels& labels, const CrldOptions& options) {
  const auto t = static_cast<float>(options.temperature);
  Tensor flat_rows;
  const auto kl = [&](const Tensor& student, const Tensor& teacher) {
    const LogitPair z = compared_logits("crld_loss", student, teacher, labels.classes, options.logit_stand);
    if (z.flat_rows.defined()) flat_rows = flat_rows.defined() ? flat_rows + z.flat_rows : z.flat_rows;
    return t * t * kl_rows_at(z, t);
  };
  const Tensor within =
      kl(logits.student_weak, logits.teacher_weak) + kl(logits.student_strong, logits.teacher_strong);
  const Tensor flat = flat_rows;  // of each view once
  const Tensor across =
      kl(logits.student_strong, logits.teacher_weak) + kl(logits.student_weak, logits.teacher_strong);

  const Tensor ce = task_loss(logits.student_weak, labels) + task_loss(logits.student_strong, labels);
  const Tensor within_views = mean(confident(logits.teacher_weak.detach(), options.weak_confidence) * within);
  const Tensor across_views =
      mean(confident(logits.teacher_strong.detach(), options.strong_confidence) * across);
  return {.task = static_cast<float>(options.ce_weight) * ce,
          .distillation = static_cast<float>(options.within) * within_views +
                          static_cast<float>(options.across) * across_views,
          .terms = {ce, within_views, across_views},
          .flat_rows = flat};
}

namespace {

class Crld : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    options.add("ce_weight", options_.ce_weight,
                {.help = "of the sum of both views' cross-entropy", .min = 0, .max = 1000});
    options.add("within", options_.within,
                {.help = "weight of learning within a view", .min = 0, .max = 1000});
    options.add("across", options_.across,
                {.help = "weight of learning across views", .min = 0, .max = 1000});
    options.add("weak_confidence", options_.weak_confidence,
                {.help = "the teacher's confidence from which on it is learned from within a view",
                 .min = 0,
                 .max = 1});
    options.add("strong_confidence", options_.strong_confidence,
                {.help = "the same across views", .min = 0, .max = 1});
    declare_logit_stand(options, options_.logit_stand);
  }
  Needs needs() const override { return {.views = 2}; }
  std::vector<std::string> terms() const override {
    return {"cross_entropy", "within_views", "across_views"};
  }
  Loss loss(const DistillBatch& batch) override {
    return crld_loss(two_views(batch), batch.labels, options_);
  }

 private:
  CrldOptions options_;
};

}  // namespace

std::unique_ptr<Method> make_crld() { return std::make_unique<Crld>(); }

}  // namespace generous

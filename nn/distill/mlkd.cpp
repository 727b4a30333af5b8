#include "nn/distill/mlkd.h"

#include <array>

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {
namespace {

/// {N, 1}: ||a - b||^2 of each row of two matrices of N rows
Tensor squared_distances(const Tensor& a, const Tensor& b) { return sum_rows(square(a - b)); }

Tensor softmax_at(const Tensor& z, float temperature) { return exp(log_softmax(z / temperature)); }

}  // namespace

// An element is at most the median, the lower one of two, if at most k = (N - 1) / 2 are below it: between
// two different medians lies no element. No sorting: N is small.
Tensor up_to_median(const Tensor& x) {
  const NoGrad no_grad;
  const std::int64_t count = x.size(0);
  const auto k = static_cast<float>((count - 1) / 2);
  const Tensor column = x.detach();                                           // {N, 1}
  const Tensor below = sum_rows(step(column - reshape(column, {1, count})));  // {N, 1}
  return -step(below - k) + 1.0F;
}

Loss mlkd_loss(const TwoViews& logits, const Labels& labels, const MlkdOptions& options) {
  const LogitPair weak = compared_logits("mlkd_loss", logits.student_weak, logits.teacher_weak,
                                         labels.classes, options.logit_stand);
  const LogitPair strong = compared_logits("mlkd_loss", logits.student_strong, logits.teacher_strong,
                                           labels.classes, options.logit_stand);
  const Tensor teacher = logits.teacher_weak.detach();
  const std::int64_t classes = teacher.size(1);
  const auto batch = static_cast<float>(teacher.size(0));
  const Tensor p = softmax_at(teacher, 1.0F);
  const Tensor m_b = up_to_median(max_rows(p));                                     // {B, 1}
  const Tensor m_c = up_to_median(reshape(sum_to(p, {1, classes}), {classes, 1}));  // {C, 1}
  const auto chosen = [&](const Tensor& rows, const Tensor& weights) {
    return options.published ? mean(weights) * sum(rows) : sum(weights * rows);
  };

  Tensor kd_masked;  // {B, 1}: sum_T K_w(T) of each sample
  Tensor kd_unmasked;
  Tensor of_classes;  // {C, 1}
  Tensor of_samples;  // {B, 1}
  const auto add = [](Tensor& total, const Tensor& term) { total = total.defined() ? total + term : term; };
  const std::array temperatures{static_cast<float>(options.temperature), 3.0F, 5.0F, 2.0F, 6.0F};
  for (std::size_t i = 0; i < temperatures.size(); ++i) {
    const float t = temperatures[i];
    const Tensor kd = t * t * kl_rows_at(weak, t);
    add(kd_masked, kd);
    add(kd_unmasked, i < 3 || !options.published ? distillation_kl(strong, t) : mean(kd));
    const Tensor p_s = softmax_at(logits.student_weak, t);
    const Tensor p_t = softmax_at(teacher, t);
    add(of_classes, squared_distances(matmul(p_t, p_t, true), matmul(p_s, p_s, true)));
    add(of_samples, squared_distances(matmul(p_t, p_t, false, true), matmul(p_s, p_s, false, true)));
  }

  const Tensor ce = task_loss(logits.student_weak, labels) + task_loss(logits.student_strong, labels);
  const Tensor kd = chosen(kd_masked, m_b) / batch + kd_unmasked;
  const Tensor class_correlation = chosen(of_classes, m_c) / static_cast<float>(classes);
  const Tensor batch_correlation = chosen(of_samples, m_b) / batch;
  return {.task = static_cast<float>(options.ce_weight) * ce,
          .distillation = static_cast<float>(options.weight) * (kd + class_correlation + batch_correlation),
          .terms = {ce, kd, class_correlation, batch_correlation},
          .flat_rows = weak.flat_rows.defined() ? weak.flat_rows + strong.flat_rows : Tensor()};
}

namespace {

class Mlkd : public Method {
 public:
  void declare(Options& options) override {
    options.add(
        "temperature", options_.temperature,
        {.help = "the first of five temperatures; the others are 3, 5, 2 and 6", .min = 0.001, .max = 1000});
    options.add("weight", options_.weight, {.help = "of the distillation terms", .min = 0, .max = 1e6});
    options.add("ce_weight", options_.ce_weight,
                {.help = "of the sum of both views' cross-entropy", .min = 0, .max = 1000});
    declare_logit_stand(options, options_.logit_stand);
    declare_published(options, options_.published);
  }
  Needs needs() const override { return {.views = 2, .relational = true}; }
  std::vector<std::string> terms() const override {
    return {"cross_entropy", "kd", "class_correlation", "batch_correlation"};
  }
  Loss loss(const DistillBatch& batch) override {
    return mlkd_loss(two_views(batch), batch.labels, options_);
  }

 private:
  MlkdOptions options_;
};

}  // namespace

std::unique_ptr<Method> make_mlkd() { return std::make_unique<Mlkd>(); }

}  // namespace generous

#include "nn/losses.h"

#include <algorithm>

namespace generous {
namespace {

/// Pushes the label's logit so far down that its probability vanishes: the rest is the non-target
/// distribution.
constexpr float mask = 1e30F;

/// Below this many times the mean of a row, its deviation is nothing but rounding.
constexpr float rounding = 1e-6F;

void check_logits(std::string_view loss, const Tensor& student, const Tensor& teacher) {
  require(student.shape() == teacher.shape(),
          "{}: student logits are {}, teacher logits {}: they must be the same", loss, student.shape().str(),
          teacher.shape().str());
}

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

Tensor kl_divergence_rows(const Tensor& log_p, const Tensor& log_q) {
  return sum_rows(exp(log_p) * (log_p - log_q));
}

KdLoss kd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
               const KdOptions& options) {
  check_logits("kd_loss", student_logits, teacher_logits);
  const float t = options.temperature;
  const float alpha = options.alpha;
  const Tensor log_p = log_softmax(teacher_logits.detach() / t);
  const Tensor log_q = log_softmax(student_logits / t);

  const Tensor ce = cross_entropy(student_logits, labels);
  const Tensor kd = t * t * mean(kl_divergence_rows(log_p, log_q));
  return {.total = (1.0F - alpha) * ce + alpha * kd, .cross_entropy = ce, .kd = kd};
}

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

GenerousLoss generous_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                           const GenerousOptions& options) {
  const Tensor ce = cross_entropy(student_logits, labels);
  const auto [nckd, flat_rows] = nckd_loss(student_logits, teacher_logits, labels, options.tn);
  return {.total = ce + options.alpha * options.warmup * nckd,
          .cross_entropy = ce,
          .nckd = nckd,
          .flat_rows = flat_rows};
}

float warmup_factor(std::int64_t epoch, std::int64_t warmup_epochs) {
  if (epoch >= warmup_epochs) return 1.0F;
  return static_cast<float>(epoch) / static_cast<float>(warmup_epochs);
}

}  // namespace generous

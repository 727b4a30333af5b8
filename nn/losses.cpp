#include "nn/losses.h"

#include <algorithm>

namespace generous {
namespace {

/// Pushes the label's logit so far down that its probability vanishes: the rest is the non-target
/// distribution.
constexpr float mask = 1000.0F;

void check_logits(std::string_view loss, const Tensor& student, const Tensor& teacher) {
  require(student.shape() == teacher.shape(),
          "{}: student logits are {}, teacher logits {}: they must be the same", loss, student.shape().str(),
          teacher.shape().str());
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

Tensor nckd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels, float tn) {
  check_logits("nckd_loss", student_logits, teacher_logits);
  const Tensor& z_s = student_logits;
  const Tensor z_t = teacher_logits.detach();
  const Tensor target = mask * one_hot(labels, z_s.size(1));

  const Tensor t_s = tn * std_rows(z_s);  // {B, 1}
  const Tensor t_t = tn * std_rows(z_t);
  const Tensor log_p = log_softmax(z_t / t_t - target);
  const Tensor log_q = log_softmax(z_s / t_s - target);
  return mean(square(t_t) * kl_divergence_rows(log_p, log_q));
}

GenerousLoss generous_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Tensor& labels,
                           const GenerousOptions& options) {
  const Tensor ce = cross_entropy(student_logits, labels);
  const Tensor nckd = nckd_loss(student_logits, teacher_logits, labels, options.tn);
  return {.total = ce + options.alpha * options.warmup * nckd, .cross_entropy = ce, .nckd = nckd};
}

float warmup_factor(std::int64_t epoch, std::int64_t warmup_epochs) {
  if (epoch >= warmup_epochs) return 1.0F;
  return static_cast<float>(epoch) / static_cast<float>(warmup_epochs);
}

}  // namespace generous

#include "nn/losses.h"

namespace generous {

void check_logits(std::string_view loss, const Tensor& student, const Tensor& teacher) {
  require(student.shape() == teacher.shape(),
          "{}: student logits are {}, teacher logits {}: they must be the same", loss, student.shape().str(),
          teacher.shape().str());
}

Tensor task_loss(const Tensor& logits, const Labels& labels) {
  const auto loss_of = [&](const Tensor& classes) {
    return labels.smoothing == 0.0F ? cross_entropy(logits, classes)
                                    : smoothed_cross_entropy(logits, classes, labels.smoothing);
  };
  if (!labels.mixed_in.defined()) return loss_of(labels.classes);
  return labels.share * loss_of(labels.classes) + (-labels.share + 1.0F) * loss_of(labels.mixed_in);
}

Tensor smoothed_cross_entropy(const Tensor& logits, const Tensor& labels, float eps) {
  return (1.0F - eps) * cross_entropy(logits, labels) - eps * mean(log_softmax(logits));
}

Tensor kl_divergence_rows(const Tensor& log_p, const Tensor& log_q) {
  return sum_rows(exp(log_p) * (log_p - log_q));
}

}  // namespace generous

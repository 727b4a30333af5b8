#include "nn/losses.h"

namespace generous {

void check_logits(std::string_view loss, const Tensor& student, const Tensor& teacher) {
  require(student.shape() == teacher.shape(),
          "{}: student logits are {}, teacher logits {}: they must be the same", loss, student.shape().str(),
          teacher.shape().str());
}

Tensor smoothed_cross_entropy(const Tensor& logits, const Tensor& labels, float eps) {
  return (1.0F - eps) * cross_entropy(logits, labels) - eps * mean(log_softmax(logits));
}

Tensor kl_divergence_rows(const Tensor& log_p, const Tensor& log_q) {
  return sum_rows(exp(log_p) * (log_p - log_q));
}

}  // namespace generous

#include "nn/losses.h"

namespace generous {

void check_logits(std::string_view loss, const Tensor& student, const Tensor& teacher) {
  require(student.shape() == teacher.shape(),
          "{}: student logits are {}, teacher logits {}: they must be the same", loss, student.shape().str(),
          teacher.shape().str());
}

Tensor kl_divergence_rows(const Tensor& log_p, const Tensor& log_q) {
  return sum_rows(exp(log_p) * (log_p - log_q));
}

}  // namespace generous

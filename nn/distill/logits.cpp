#include "nn/distill/logits.h"

#include <limits>

#include "nn/losses.h"

namespace generous {
namespace {

/// Pushes a logit so far down that its probability vanishes, however small the temperature.
constexpr float mask = 1e30F;

/// Below this many times the mean of a row, its deviation is nothing but rounding.
constexpr float rounding = 1e-6F;

/// {B, 1}: 0 for the rows of z that have no spread, otherwise 1; NaN where z has one. No gradient.
Tensor has_spread(const Tensor& z) {
  const NoGrad no_grad;
  return step(square(std_rows(z)) - rounding * rounding * square(mean_rows(z)));
}

}  // namespace

LogitPair replace_rows(const Tensor& student, const Tensor& teacher, const Tensor& kept,
                       const Tensor& target) {
  const Tensor replaced = -kept + 1.0F;
  return {.student = student * kept + target * replaced,
          .teacher = teacher.detach() * kept + target * replaced,
          .kept = kept,
          .flat_rows = sum(replaced)};
}

LogitPair with_spread(const Tensor& student, const Tensor& teacher, const Tensor& target) {
  // A row without spread would divide by 0, and 0 times that is no number: so it is replaced, not left out.
  return replace_rows(student, teacher, has_spread(student) * has_spread(teacher), target);
}

Tensor standardised(const Tensor& z) { return (z - mean_rows(z)) / (std_rows(z) + 1e-7F); }

LogitPair standardised_pair(const Tensor& student, const Tensor& teacher, const Tensor& target) {
  LogitPair z = with_spread(student, teacher, target);
  z.student = standardised(z.student);
  z.teacher = standardised(z.teacher);
  return z;
}

LogitPair compared_logits(std::string_view loss, const Tensor& student, const Tensor& teacher,
                          const Tensor& labels, bool standardise) {
  check_logits(loss, student, teacher);
  if (standardise) return standardised_pair(student, teacher, one_hot(labels, student.size(1)));
  return {.student = student, .teacher = teacher.detach()};
}

void declare_logit_stand(Options& options, bool& logit_stand) {
  options.add("logit_stand", logit_stand,
              {.help = "compare standardised logits: (z - mean) / sigma of each image"});
}

void declare_published(Options& options, bool& published) {
  options.add("published", published, {.help = "as the published code computes it; 0: as its paper says"});
}

Tensor kl_rows_at(const LogitPair& z, float temperature) {
  const Tensor log_p = log_softmax(z.teacher / temperature);
  const Tensor log_q = log_softmax(z.student / temperature);
  return kl_divergence_rows(log_p, log_q);
}

Tensor distillation_kl(const LogitPair& z, float temperature) {
  return temperature * temperature * mean(kl_rows_at(z, temperature));
}

Tensor log_softmax_of_others(const Tensor& z, const Tensor& target) { return log_softmax(z - mask * target); }

TargetSplit split_target(const Tensor& log_p, const Tensor& target) {
  // The smallest number keeps a sum that has vanished from being log 0.
  const Tensor others = sum_rows(exp(log_p) * (-target + 1.0F)) + std::numeric_limits<float>::min();
  return {.target = sum_rows(log_p * target), .others = log(others)};
}

Tensor kl_divergence_rows(const TargetSplit& log_p, const TargetSplit& log_q) {
  return exp(log_p.target) * (log_p.target - log_q.target) +
         exp(log_p.others) * (log_p.others - log_q.others);
}

Tensor weighted_target_loss(const LogitPair& z, const Tensor& target) {
  const Tensor p_t = exp(log_softmax(z.teacher));
  return -mean(sum_rows(p_t * target * log_softmax(z.student)));
}

}  // namespace generous

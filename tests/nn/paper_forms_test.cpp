// Methods whose published code does otherwise than their paper, in the paper's form: against plain loops. The
// published form has reference values (logit_methods_golden_test.cpp).

#include <doctest/doctest.h>

#include <array>

#include "nn/distill/deepkd.h"
#include "nn/distill/mlkd.h"
#include "tests/nn/naive_losses.h"

namespace generous {
namespace {

using namespace naive;

const Matrix teacher_weak = random_logits("teacher");
const Matrix teacher_strong = random_logits("teacher strong");
const Matrix student_strong = random_logits("student strong");

Matrix softmax(const Matrix& z, double t) {
  Matrix p;
  for (const Row& row : z) {
    p.push_back(log_softmax(row, t));
    for (double& value : p.back()) value = std::exp(value);
  }
  return p;
}

/// Of each: 1 if it is at most the median.
Row up_to_the_median(const Row& values) {
  Row sorted = values;
  std::ranges::sort(sorted);
  const std::size_t n = sorted.size();
  const double median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0;
  Row chosen;
  for (const double value : values) chosen.push_back(value <= median ? 1.0 : 0.0);
  return chosen;
}

/// The squared distance of row i of A'A and B'B, or of AA' and BB'.
double gram_distance(const Matrix& a, const Matrix& b, std::size_t i, bool of_classes) {
  const std::size_t rows = of_classes ? classes : batch;
  const std::size_t inner = of_classes ? batch : classes;
  double sum = 0.0;
  for (std::size_t j = 0; j < rows; ++j) {
    double difference = 0.0;
    for (std::size_t k = 0; k < inner; ++k)
      difference +=
          of_classes ? a[k][i] * a[k][j] - b[k][i] * b[k][j] : a[i][k] * a[j][k] - b[i][k] * b[j][k];
    sum += difference * difference;
  }
  return sum;
}

double naive_mlkd(const Matrix& student_weak) {
  const Matrix p = softmax(teacher_weak, 1.0);
  Row confidence;
  Row mass(classes, 0.0);
  for (const Row& row : p) {
    confidence.push_back(*std::ranges::max_element(row));
    for (std::size_t c = 0; c < classes; ++c) mass[c] += row[c];
  }
  const Row samples = up_to_the_median(confidence);
  const Row of_classes = up_to_the_median(mass);
  double sum = 0.0;
  for (const double t : {3.5, 3.0, 5.0, 2.0, 6.0}) {
    const Matrix p_t = softmax(teacher_weak, t);
    const Matrix p_s = softmax(student_weak, t);
    for (std::size_t b = 0; b < batch; ++b) {
      sum +=
          samples[b] * t * t * kl(log_softmax(teacher_weak[b], t), log_softmax(student_weak[b], t)) / batch;
      sum += samples[b] * gram_distance(p_t, p_s, b, false) / batch;
    }
    for (std::size_t c = 0; c < classes; ++c)
      sum += of_classes[c] * gram_distance(p_t, p_s, c, true) / classes;
    sum += naive_kd(student_strong, teacher_strong, t);
  }
  return 0.2 * (naive_cross_entropy(student_weak) + naive_cross_entropy(student_strong)) + 0.7 * sum;
}

}  // namespace

TEST_CASE("MLKD: masks choose samples and classes, the strong view has all five temperatures") {
  const MlkdOptions options{.temperature = 3.5, .weight = 0.7, .ce_weight = 0.2, .published = false};
  check_loss(
      [&](const Tensor& student) {
        return mlkd_loss({.student_weak = student,
                          .student_strong = to_tensor(student_strong),
                          .teacher_weak = to_tensor(teacher_weak),
                          .teacher_strong = to_tensor(teacher_strong)},
                         label_tensor(), options)
            .total();
      },
      naive_mlkd);
}

TEST_CASE("DeepKD: the two parts of the knowledge add up to KD") {
  const DeepKdLossOptions options{.temperature = 2.5, .ce_weight = 0.3, .published = false};
  check_loss(
      [&](const Tensor& student) {
        return deepkd_loss(student, to_tensor(teacher_weak), label_tensor(), options).total();
      },
      [](const Matrix& student) {
        return 0.3 * naive_cross_entropy(student) + naive_kd(student, teacher_weak, 2.5);
      });
}

}  // namespace generous

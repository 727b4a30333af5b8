// The losses against naive double-precision versions of the published formulas, written with plain loops, and
// their gradients against finite differences of those. (tests/golden has the outside values.)

#include "nn/losses.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "core/random.h"
#include "tests/cpu_implementations.h"

namespace generous {
namespace {

constexpr std::size_t batch = 3;
constexpr std::size_t classes = 5;
using Row = std::vector<double>;
using Matrix = std::vector<Row>;
using Labels = std::vector<std::int64_t>;

const Labels labels{4, 0, 2};

Matrix random_logits(std::string_view name) {
  const Random random(11, name);
  Matrix logits(batch, Row(classes));
  std::uint64_t element = 0;
  for (Row& row : logits)
    for (double& z : row) z = static_cast<double>(2.0F * random.normal(0, 0, element++));
  return logits;
}

Tensor to_tensor(const Matrix& matrix) {
  std::vector<float> values;
  for (const Row& row : matrix)
    for (const double value : row) values.push_back(static_cast<float>(value));
  return Tensor::from(values, {batch, classes});
}

Row softmax(const Row& z, double temperature) {
  Row p;
  double total = 0.0;
  for (const double value : z) {
    p.push_back(std::exp(value / temperature));
    total += p.back();
  }
  for (double& value : p) value /= total;
  return p;
}

double kl(const Row& p, const Row& q) {
  double sum = 0.0;
  for (std::size_t c = 0; c < p.size(); ++c) sum += p[c] * std::log(p[c] / q[c]);
  return sum;
}

double sigma(const Row& z) {
  double average = 0.0;
  for (const double value : z) average += value / static_cast<double>(z.size());
  double squares = 0.0;
  for (const double value : z) squares += (value - average) * (value - average);
  return std::sqrt(squares / static_cast<double>(z.size() - 1));
}

Row without(const Row& z, std::int64_t label) {
  Row rest = z;
  rest.erase(rest.begin() + label);
  return rest;
}

double naive_cross_entropy(const Matrix& z) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b)
    sum -= std::log(softmax(z[b], 1.0)[static_cast<std::size_t>(labels[b])]);
  return sum / static_cast<double>(batch);
}

double naive_kd(const Matrix& z_s, const Matrix& z_t, double t) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b) sum += t * t * kl(softmax(z_t[b], t), softmax(z_s[b], t));
  return sum / static_cast<double>(batch);
}

/// With the target class left out, instead of masked.
double naive_nckd(const Matrix& z_s, const Matrix& z_t, double tn) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b) {
    const double t_t = tn * sigma(z_t[b]);
    const double t_s = tn * sigma(z_s[b]);
    sum += t_t * t_t * kl(softmax(without(z_t[b], labels[b]), t_t), softmax(without(z_s[b], labels[b]), t_s));
  }
  return sum / static_cast<double>(batch);
}

/// Value and full gradient of `loss` at the student's logits against `naive`. 2e-5: single precision, values
/// of order 1 to 10.
void check_loss(const std::function<Tensor(const Tensor&)>& loss,
                const std::function<double(const Matrix&)>& naive) {
  const Matrix z_s = random_logits("student");
  Tensor student = to_tensor(z_s);
  student.require_grad();
  const Tensor value = loss(student);
  CHECK(value.shape() == Shape());
  CHECK(static_cast<double>(value.item()) == doctest::Approx(naive(z_s)).epsilon(2e-5));
  backward(value);
  const auto gradient = student.grad().data<float>();
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t c = 0; c < classes; ++c) {
      constexpr double h = 1e-5;
      Matrix up = z_s;
      Matrix down = z_s;
      up[b][c] += h;
      down[b][c] -= h;
      const double numeric = (naive(up) - naive(down)) / (2.0 * h);
      CAPTURE(b);
      CAPTURE(c);
      CHECK(std::abs(static_cast<double>(gradient[b * classes + c]) - numeric) <
            2e-5 * (1.0 + std::abs(numeric)));
    }
  }
}

const Tensor& label_tensor() {
  static const Tensor tensor = Tensor::from(labels, {batch});
  return tensor;
}

}  // namespace

TEST_CASE("Kullback-Leibler divergence of rows") {
  const Tensor log_p = log(Tensor::from(std::vector<float>{0.5F, 0.25F, 0.25F, 0.1F, 0.2F, 0.7F}, {2, 3}));
  const Tensor log_q = log(Tensor::from(std::vector<float>{0.25F, 0.25F, 0.5F, 0.1F, 0.2F, 0.7F}, {2, 3}));
  const Tensor rows = kl_divergence_rows(log_p, log_q);
  CHECK(rows.shape() == Shape{2, 1});
  CHECK(rows.data<float>()[0] ==
        doctest::Approx(0.25 * std::log(2.0)).epsilon(1e-6));  // 0.5 log 2 - 0.25 log 2
  CHECK(rows.data<float>()[1] == 0.0F);
}

TEST_CASE("Hinton KD: terms, weights and gradient") {
  on_every_cpu_implementation([] {
    const Matrix z_t = random_logits("teacher");
    const KdOptions options{.temperature = 3.0F, .alpha = 0.7F};
    check_loss([&](const Tensor& z) { return kd_loss(z, to_tensor(z_t), label_tensor(), options).total; },
               [&](const Matrix& z) { return 0.3 * naive_cross_entropy(z) + 0.7 * naive_kd(z, z_t, 3.0); });
    check_loss(
        [&](const Tensor& z) { return kd_loss(z, to_tensor(z_t), label_tensor(), options).cross_entropy; },
        naive_cross_entropy);
    check_loss([&](const Tensor& z) { return kd_loss(z, to_tensor(z_t), label_tensor(), options).kd; },
               [&](const Matrix& z) { return naive_kd(z, z_t, 3.0); });
  });
}

TEST_CASE("generous loss: terms, weights and gradient, sigma of the student included") {
  on_every_cpu_implementation([] {
    const Matrix z_t = random_logits("teacher");
    check_loss([&](const Tensor& z) { return nckd_loss(z, to_tensor(z_t), label_tensor(), 1.5F); },
               [&](const Matrix& z) { return naive_nckd(z, z_t, 1.5); });
    const GenerousOptions options{.tn = 1.0F, .alpha = 2.0F, .warmup = 0.25F};
    check_loss(
        [&](const Tensor& z) { return generous_loss(z, to_tensor(z_t), label_tensor(), options).total; },
        [&](const Matrix& z) { return naive_cross_entropy(z) + 2.0 * 0.25 * naive_nckd(z, z_t, 1.0); });
  });
}

TEST_CASE("a student that equals its teacher has nothing left to learn from it") {
  const Tensor teacher = to_tensor(random_logits("teacher"));
  Tensor student = teacher.clone();
  student.require_grad();
  const Tensor nckd = nckd_loss(student, teacher, label_tensor(), 1.0F);
  CHECK(std::abs(nckd.item()) < 1e-6F);
  backward(nckd);
  for (const float g : student.grad().data<float>()) CHECK(std::abs(g) < 1e-6F);
}

TEST_CASE("teachers get no gradient") {
  for (const bool generous : {false, true}) {
    Tensor student = to_tensor(random_logits("student"));
    Tensor teacher = to_tensor(random_logits("teacher"));
    student.require_grad();
    teacher.require_grad();
    backward(generous ? generous_loss(student, teacher, label_tensor(), {}).total
                      : kd_loss(student, teacher, label_tensor(), {}).total);
    CHECK(student.grad().defined());
    CHECK_FALSE(teacher.grad().defined());
  }
}

TEST_CASE("a teacher with other classes is an error that names both shapes") {
  const Tensor student = to_tensor(random_logits("student"));
  const Tensor teacher = Tensor::zeros({batch, 1});  // would broadcast
  CHECK_THROWS_WITH_AS(kd_loss(student, teacher, label_tensor(), {}),
                       "kd_loss: student logits are {3, 5}, teacher logits {3, 1}: they must be the same",
                       Error);
  CHECK_THROWS_WITH_AS(generous_loss(student, teacher, label_tensor(), {}),
                       "nckd_loss: student logits are {3, 5}, teacher logits {3, 1}: they must be the same",
                       Error);
}

TEST_CASE("the warm-up factor") {
  CHECK(warmup_factor(0, 20) == 0.0F);
  CHECK(warmup_factor(5, 20) == 0.25F);
  CHECK(warmup_factor(19, 20) == 0.95F);
  CHECK(warmup_factor(20, 20) == 1.0F);
  CHECK(warmup_factor(200, 20) == 1.0F);
  CHECK(warmup_factor(0, 0) == 1.0F);
  CHECK(warmup_factor(0, 1) == 0.0F);
}

}  // namespace generous

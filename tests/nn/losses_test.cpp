// The losses against naive double-precision versions of the published formulas, written with plain loops, and
// their gradients against finite differences of those. (tests/golden has the outside values.)

#include "nn/losses.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/random.h"
#include "nn/distill/generous.h"
#include "nn/distill/kd.h"
#include "tests/core/cpu_implementations.h"

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

Row log_softmax(const Row& z, double temperature) {
  const double largest = *std::ranges::max_element(z);
  double total = 0.0;
  for (const double value : z) total += std::exp((value - largest) / temperature);
  Row log_p;
  for (const double value : z) log_p.push_back((value - largest) / temperature - std::log(total));
  return log_p;
}

double kl(const Row& log_p, const Row& log_q) {
  double sum = 0.0;
  for (std::size_t c = 0; c < log_p.size(); ++c) sum += std::exp(log_p[c]) * (log_p[c] - log_q[c]);
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
  for (std::size_t b = 0; b < batch; ++b) sum -= log_softmax(z[b], 1.0)[static_cast<std::size_t>(labels[b])];
  return sum / static_cast<double>(batch);
}

double naive_kd(const Matrix& z_s, const Matrix& z_t, double t) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b) sum += t * t * kl(log_softmax(z_t[b], t), log_softmax(z_s[b], t));
  return sum / static_cast<double>(batch);
}

/// With the target class left out, instead of masked.
double naive_nckd(const Matrix& z_s, const Matrix& z_t, double tn) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b) {
    const double t_t = tn * sigma(z_t[b]);
    const double t_s = tn * sigma(z_s[b]);
    sum += t_t * t_t *
           kl(log_softmax(without(z_t[b], labels[b]), t_t), log_softmax(without(z_s[b], labels[b]), t_s));
  }
  return sum / static_cast<double>(batch);
}

/// Value and full gradient of `loss` at the student's logits against `naive`, whose differences are over
/// `h`. 2e-5: single precision, values of order 1 to 10.
void check_loss(const std::function<Tensor(const Tensor&)>& loss,
                const std::function<double(const Matrix&)>& naive, double tolerance = 2e-5, double h = 1e-5) {
  const Matrix z_s = random_logits("student");
  Tensor student = to_tensor(z_s);
  student.require_grad();
  const Tensor value = loss(student);
  CHECK(value.shape() == Shape());
  CHECK(static_cast<double>(value.item()) == doctest::Approx(naive(z_s)).epsilon(tolerance));
  backward(value);
  const auto gradient = student.grad().data<float>();
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t c = 0; c < classes; ++c) {
      Matrix up = z_s;
      Matrix down = z_s;
      up[b][c] += h;
      down[b][c] -= h;
      const double numeric = (naive(up) - naive(down)) / (2.0 * h);
      CAPTURE(b);
      CAPTURE(c);
      CHECK(std::abs(static_cast<double>(gradient[b * classes + c]) - numeric) <
            tolerance * (1.0 + std::abs(numeric)));
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
    check_loss([&](const Tensor& z) { return kd_loss(z, to_tensor(z_t), label_tensor(), options).total(); },
               [&](const Matrix& z) { return 0.3 * naive_cross_entropy(z) + 0.7 * naive_kd(z, z_t, 3.0); });
    check_loss([&](const Tensor& z) { return kd_loss(z, to_tensor(z_t), label_tensor(), options).terms[0]; },
               naive_cross_entropy);
    check_loss([&](const Tensor& z) { return kd_loss(z, to_tensor(z_t), label_tensor(), options).terms[1]; },
               [&](const Matrix& z) { return naive_kd(z, z_t, 3.0); });
  });
}

TEST_CASE("generous loss: terms, weights and gradient, sigma of the student included") {
  on_every_cpu_implementation([] {
    const Matrix z_t = random_logits("teacher");
    check_loss([&](const Tensor& z) { return nckd_loss(z, to_tensor(z_t), label_tensor(), 1.5F).nckd; },
               [&](const Matrix& z) { return naive_nckd(z, z_t, 1.5); });
    const GenerousOptions options{.tn = 1.0F, .alpha = 2.0F, .warmup = 0.25F};
    check_loss(
        [&](const Tensor& z) { return generous_loss(z, to_tensor(z_t), label_tensor(), options).total(); },
        [&](const Matrix& z) { return naive_cross_entropy(z) + 2.0 * 0.25 * naive_nckd(z, z_t, 1.0); });
  });
}

TEST_CASE("the smallest temperatures do not let the target class in") {
  // Logits divided by 0.001 sigma reach thousands; 1e-3: their rounding is of the order of 1e-4.
  on_every_cpu_implementation([] {
    const Matrix z_t = random_logits("teacher");
    for (const double tn : {0.001, 0.0035})
      check_loss(
          [&](const Tensor& z) {
            return nckd_loss(z, to_tensor(z_t), label_tensor(), static_cast<float>(tn)).nckd;
          },
          [&](const Matrix& z) { return naive_nckd(z, z_t, tn); }, 1e-3, 1e-7);
  });
}

TEST_CASE("rows without spread give nothing and get nothing") {
  on_every_cpu_implementation([] {
    // Zeros, as of a ReLU on the logits, and a constant whose mean is rounded.
    for (const double constant : {0.0, 0.3}) {
      for (const bool in_teacher : {false, true}) {
        CAPTURE(constant);
        CAPTURE(in_teacher);
        Matrix z_s = random_logits("student");
        Matrix z_t = random_logits("teacher");
        std::ranges::fill(in_teacher ? z_t[1] : z_s[1], constant);
        Tensor student = to_tensor(z_s);
        student.require_grad();
        const NckdLoss loss = nckd_loss(student, to_tensor(z_t), label_tensor(), 1.5F);
        CHECK(loss.flat_rows.item() == 1.0F);
        backward(loss.nckd);
        const std::vector<float> gradient(student.grad().data<float>().begin(),
                                          student.grad().data<float>().end());

        // The rest is what it is where the row's two networks agree, which adds nothing either.
        z_s[1] = z_t[1] = random_logits("other")[1];
        CHECK(static_cast<double>(loss.nckd.item()) ==
              doctest::Approx(naive_nckd(z_s, z_t, 1.5)).epsilon(2e-5));
        Tensor rest = to_tensor(z_s);
        rest.require_grad();
        backward(nckd_loss(rest, to_tensor(z_t), label_tensor(), 1.5F).nckd);
        for (std::size_t i = 0; i < gradient.size(); ++i)
          CHECK(gradient[i] == (i / classes == 1 ? 0.0F : rest.grad().data<float>()[i]));
      }
    }
  });
}

TEST_CASE("NaN is never taken for a row without spread") {
  const Matrix good = random_logits("student");
  Matrix bad = good;
  bad[1][2] = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(nckd_loss(to_tensor(bad), to_tensor(good), label_tensor(), 1.0F).nckd.item()));
  CHECK(std::isnan(nckd_loss(to_tensor(good), to_tensor(bad), label_tensor(), 1.0F).nckd.item()));
}

TEST_CASE("a student that equals its teacher has nothing left to learn from it") {
  const Tensor teacher = to_tensor(random_logits("teacher"));
  Tensor student = teacher.clone();
  student.require_grad();
  const Tensor nckd = nckd_loss(student, teacher, label_tensor(), 1.0F).nckd;
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
    backward(generous ? generous_loss(student, teacher, label_tensor(), {}).total()
                      : kd_loss(student, teacher, label_tensor(), {}).total());
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

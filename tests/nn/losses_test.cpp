// The losses against naive double-precision versions of the published formulas, written with plain loops, and
// their gradients against finite differences of those. (tests/golden has the outside values.)

#include "nn/losses.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/distill/generous.h"
#include "nn/distill/kd.h"
#include "tests/core/cpu_implementations.h"
#include "tests/nn/naive_losses.h"

namespace generous {
namespace {

using namespace naive;

/// Each image's cross-entropy with weights for all classes: of its label, the label of the image mixed in,
/// and everywhere.
double naive_task(const Matrix& z, const std::vector<std::int64_t>& mixed_in, double share,
                  double smoothing) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b) {
    Row weights(classes, smoothing / static_cast<double>(classes));
    weights[static_cast<std::size_t>(labels[b])] += (1.0 - smoothing) * share;
    weights[static_cast<std::size_t>(mixed_in[b])] += (1.0 - smoothing) * (1.0 - share);
    const Row log_p = naive::log_softmax(z[b], 1.0);
    for (std::size_t c = 0; c < classes; ++c) sum -= weights[c] * log_p[c];
  }
  return sum / static_cast<double>(batch);
}

}  // namespace

TEST_CASE("what the labels say: one class each, smoothed, mixed, both") {
  on_every_cpu_implementation([] {
    const std::vector<std::int64_t> others{1, 0, 3};  // the second image is mixed with one of its class
    Labels said = label_tensor();
    check_loss([&](const Tensor& z) { return task_loss(z, said); }, naive_cross_entropy);
    said.smoothing = 0.1F;
    check_loss([&](const Tensor& z) { return task_loss(z, said); },
               [&](const Matrix& z) { return naive_task(z, labels, 1.0, 0.1); });
    said.mixed_in = Tensor::from(others, {batch});
    said.share = Tensor::full({}, 0.3F);
    check_loss([&](const Tensor& z) { return task_loss(z, said); },
               [&](const Matrix& z) { return naive_task(z, others, 0.3, 0.1); });
    said.smoothing = 0.0F;
    check_loss([&](const Tensor& z) { return task_loss(z, said); },
               [&](const Matrix& z) { return naive_task(z, others, 0.3, 0.0); });
  });
  const Tensor z = to_tensor(random_logits("student"));
  CHECK(task_loss(z, label_tensor()).item() == cross_entropy(z, label_tensor()).item());  // to the bit
}

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

TEST_CASE("what the ablations of the generous teacher absorb") {
  const Matrix z_t = random_logits("teacher");
  const auto over_rows = [](const Matrix& z, const auto& f) {
    double sum = 0.0;
    for (std::size_t b = 0; b < batch; ++b) sum += f(z[b], b);
    return sum / static_cast<double>(batch);
  };
  const auto others = [](const Row& z, std::size_t b, double t) {
    return log_softmax(without(z, labels[b]), t);
  };
  const auto split = [](const Row& z, std::size_t b, double t) {
    const double p = std::exp(log_softmax(z, t)[static_cast<std::size_t>(labels[b])]);
    return Row{std::log(p), std::log(1.0 - p)};
  };
  const auto check = [&](const GenerousOptions& options, const auto& naive) {
    on_every_cpu_implementation([&] {
      check_loss(
          [&](const Tensor& z) { return generous_loss(z, to_tensor(z_t), label_tensor(), options).terms[1]; },
          [&](const Matrix& z) { return over_rows(z, naive); });
    });
  };
  check({.temperature = 2.0F},
        [&](const Row& z, std::size_t b) { return 4.0 * kl(others(z_t[b], b, 2.0), others(z, b, 2.0)); });
  check({.tn = 1.5F, .knowledge = Knowledge::kl}, [&](const Row& z, std::size_t b) {
    const double t_t = 1.5 * sigma(z_t[b]);
    return t_t * t_t * kl(log_softmax(z_t[b], t_t), log_softmax(z, 1.5 * sigma(z)));
  });
  check({.tn = 1.5F, .knowledge = Knowledge::dkd, .beta = 3.0F}, [&](const Row& z, std::size_t b) {
    const double t_t = 1.5 * sigma(z_t[b]);
    const double t_s = 1.5 * sigma(z);
    return t_t * t_t *
           (kl(split(z_t[b], b, t_t), split(z, b, t_s)) +
            3.0 * kl(others(z_t[b], b, t_t), others(z, b, t_s)));
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
  CHECK_THROWS_WITH_AS(
      generous_loss(student, teacher, label_tensor(), {}),
      "generous_loss: student logits are {3, 5}, teacher logits {3, 1}: they must be the same", Error);
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

// Losses in double precision with plain loops, as they are published, and the comparison of the project's
// with them.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/ops.h"
#include "core/random.h"

namespace generous::naive {

inline constexpr std::size_t batch = 3;
inline constexpr std::size_t classes = 5;
using Row = std::vector<double>;
using Matrix = std::vector<Row>;

inline const std::vector<std::int64_t> labels{4, 0, 2};

inline Matrix random_logits(std::string_view name) {
  const Random random(11, name);
  Matrix logits(batch, Row(classes));
  std::uint64_t element = 0;
  for (Row& row : logits)
    for (double& z : row) z = static_cast<double>(2.0F * random.normal(0, 0, element++));
  return logits;
}

inline Tensor to_tensor(const Matrix& matrix) {
  std::vector<float> values;
  for (const Row& row : matrix)
    for (const double value : row) values.push_back(static_cast<float>(value));
  return Tensor::from(values, {batch, classes});
}

inline Row log_softmax(const Row& z, double temperature) {
  const double largest = *std::ranges::max_element(z);
  double total = 0.0;
  for (const double value : z) total += std::exp((value - largest) / temperature);
  Row log_p;
  for (const double value : z) log_p.push_back((value - largest) / temperature - std::log(total));
  return log_p;
}

inline double kl(const Row& log_p, const Row& log_q) {
  double sum = 0.0;
  for (std::size_t c = 0; c < log_p.size(); ++c) sum += std::exp(log_p[c]) * (log_p[c] - log_q[c]);
  return sum;
}

inline double sigma(const Row& z) {
  double average = 0.0;
  for (const double value : z) average += value / static_cast<double>(z.size());
  double squares = 0.0;
  for (const double value : z) squares += (value - average) * (value - average);
  return std::sqrt(squares / static_cast<double>(z.size() - 1));
}

inline Row without(const Row& z, std::int64_t label) {
  Row rest = z;
  rest.erase(rest.begin() + label);
  return rest;
}

inline double naive_cross_entropy(const Matrix& z) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b) sum -= log_softmax(z[b], 1.0)[static_cast<std::size_t>(labels[b])];
  return sum / static_cast<double>(batch);
}

inline double naive_kd(const Matrix& z_s, const Matrix& z_t, double t) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b) sum += t * t * kl(log_softmax(z_t[b], t), log_softmax(z_s[b], t));
  return sum / static_cast<double>(batch);
}

/// With the target class left out, instead of masked.
inline double naive_nckd(const Matrix& z_s, const Matrix& z_t, double tn) {
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
inline void check_loss(const std::function<Tensor(const Tensor&)>& loss,
                       const std::function<double(const Matrix&)>& naive, double tolerance = 2e-5,
                       double h = 1e-5) {
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

inline const Tensor& label_tensor() {
  static const Tensor tensor = Tensor::from(labels, {batch});
  return tensor;
}

}  // namespace generous::naive

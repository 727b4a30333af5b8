// Numerical gradient checks.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/ops.h"
#include "core/random.h"
#include "tests/core/cpu_implementations.h"
#include "tests/core/worst.h"

namespace generous::testing {

/// A tensor of standard normal values that depend on `name` alone.
inline Tensor random_tensor(const Shape& shape, const std::string& name) {
  Tensor tensor = Tensor::empty(shape);
  const Random random(42, name);
  std::uint64_t i = 0;
  for (float& value : tensor.data<float>()) value = random.normal(0, 0, i++);
  return tensor;
}

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

/// sum_i w_i y_i in double with fixed weights: a scalar in which every output counts differently.
inline double weighted_sum(const Tensor& y, const Tensor& weights) {
  const std::span<const float> values = y.data<float>();
  const std::span<const float> factors = weights.data<float>();
  double total = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i)
    total += static_cast<double>(values[i]) * static_cast<double>(factors[i]);
  return total;
}

struct GradientTolerance {
  double step = 1e-2;      ///< of the central difference; f32 outputs do not bear a much smaller one
  double relative = 3e-3;  ///< of the largest element of the gradient
};

/// Checks d/dinput sum(w * f(inputs)) for every element of every input by central differences, once with all
/// inputs requiring a gradient and once with each alone.
inline void check_gradients(const std::string& name, const Function& f, std::vector<Tensor> inputs,
                            const GradientTolerance& tolerance = {}) {
  CAPTURE(name);
  const auto evaluate = [&] {
    const NoGrad guard;
    return f(inputs);
  };
  const Tensor weights = random_tensor(evaluate().shape(), name + " weights");

  for (std::size_t k = 0; k < inputs.size(); ++k) {
    std::vector<double> numeric;
    for (float& value : inputs[k].data<float>()) {
      const float original = value;
      value = original + static_cast<float>(tolerance.step);
      const double up_x = static_cast<double>(value);
      const double up = weighted_sum(evaluate(), weights);
      value = original - static_cast<float>(tolerance.step);
      const double down_x = static_cast<double>(value);
      const double down = weighted_sum(evaluate(), weights);
      value = original;
      numeric.push_back((up - down) / (up_x - down_x));
    }
    for (const bool alone : {false, true}) {
      std::vector<Tensor> leaves;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        leaves.push_back(inputs[i].clone());
        if (!alone || i == k) leaves.back().require_grad();
      }
      backward(f(leaves), weights);
      REQUIRE(leaves[k].grad().defined());
      const auto analytic = leaves[k].grad().data<float>();
      double scale = 0.0;
      for (const double value : numeric) scale = std::max(scale, std::abs(value));
      REQUIRE(scale > 0.0);
      double worst = 0.0;
      for (std::size_t i = 0; i < numeric.size(); ++i)
        worst = worse(worst, std::abs(numeric[i] - static_cast<double>(analytic[i])));
      CAPTURE(k);
      CAPTURE(alone);
      CHECK(worst <= tolerance.relative * scale);
    }
  }
}

/// The largest |a - b| over the largest |b|; NaN if there is one in either.
inline double relative_difference(const Tensor& a, const std::vector<double>& b) {
  REQUIRE(a.data<float>().size() == b.size());
  double worst = 0.0;
  double scale = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    worst = worse(worst, std::abs(static_cast<double>(a.data<float>()[i]) - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return worst / scale;
}

}  // namespace generous::testing

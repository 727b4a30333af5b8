// Comparison with the reference values (tests/golden/README.md), which are in double precision.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace generous {

/// What single precision may lose of values, relative to their size, and of gradients (the deepest lose
/// most).
constexpr double value_tolerance = 1e-4;
constexpr double gradient_tolerance = 1e-3;

/// What does not agree, in words.
using Complaints = std::vector<std::string>;

inline void compare(double actual, double expected, double allowed, const std::string& what,
                    Complaints& out) {
  const bool close = std::abs(actual - expected) <= allowed;  // false for NaN
  if (!close) out.push_back(fmt::format("{} is {}, expected {} within {}", what, actual, expected, allowed));
}

/// A matrix of a file as a flat list.
inline std::vector<double> flat(const nlohmann::json& rows) {
  std::vector<double> values;
  for (const auto& row : rows)
    for (const auto& value : row) values.push_back(value.get<double>());
  return values;
}

/// Every element, relative to the largest one, and `more` besides.
inline void compare_matrix(const Tensor& actual, const nlohmann::json& rows, const std::string& what,
                           Complaints& out, double more = 0.0) {
  const std::vector<double> expected = flat(rows);
  const auto values = actual.data<float>();
  require(values.size() == expected.size(), "{} has {} elements, expected {}", what, values.size(),
          expected.size());
  double largest = 0.0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < values.size(); ++i)
    compare(static_cast<double>(values[i]), expected[i], value_tolerance * largest + more,
            fmt::format("{}[{}]", what, i), out);
}

inline double norm_of(std::span<const float> values) {
  double sum = 0.0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

/// A tensor as the files have it: its norm and its first three elements (fewer if it has fewer).
struct Summary {
  explicit Summary(const nlohmann::json& entry)
      : norm(entry.at(0).get<double>()), first(entry.at(1).get<std::vector<double>>()) {}
  explicit Summary(const Tensor& tensor) : norm(norm_of(tensor.data<float>())) {
    for (const float value :
         tensor.data<float>().first(std::min<std::size_t>(3, tensor.data<float>().size())))
      first.push_back(static_cast<double>(value));
  }
  double norm;
  std::vector<double> first;
};

/// How far a tensor's norm and its single elements may be from the reference.
struct Allowance {
  double norm = 0.0;
  double element = 0.0;
};

/// `tolerance` of the norm, and of the typical or the largest listed element, whichever is larger.
inline Allowance relative_allowance(const Summary& expected, std::int64_t count, double tolerance) {
  double element = expected.norm / std::sqrt(static_cast<double>(count));
  for (const double value : expected.first) element = std::max(element, std::abs(value));
  return {.norm = tolerance * expected.norm, .element = tolerance * element};
}

inline void compare_summary(const Tensor& tensor, const Summary& expected, const Allowance& allowance,
                            const std::string& what, Complaints& out) {
  const Summary actual(tensor);
  compare(actual.norm, expected.norm, allowance.norm, what + " norm", out);
  require(actual.first.size() == expected.first.size(), "{} has {} elements listed", what,
          expected.first.size());
  for (std::size_t i = 0; i < actual.first.size(); ++i)
    compare(actual.first[i], expected.first[i], allowance.element, fmt::format("{}[{}]", what, i), out);
}

}  // namespace generous

// Comparison with the reference values (tests/golden/README.md), which are in double precision.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace generous {

/// Single precision agrees to a few 1e-6 of a tensor's size; 1e-4 leaves room for other machines' roundings.
constexpr double golden_tolerance = 1e-4;
/// A bias before a batch norm has no gradient in theory: the files have norms of about 1e-16, below 1e-9, for
/// it. In single precision it is the rounding error of a sum whose terms are of the size of the other
/// gradients.
constexpr double golden_zero = 1e-9;
constexpr double golden_zero_tolerance = 1e-5;

/// How far a gradient may be from its reference beyond the tolerance, see golden_test.cpp.
struct Jump {
  double norm = 0.0;     ///< of the whole tensor
  double element = 0.0;  ///< of any one element
};

inline double norm_of(std::span<const float> values) {
  double sum = 0.0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

inline void check_close(double actual, double expected, double allowed, const std::string& what) {
  const bool close = std::abs(actual - expected) <= allowed;  // false for NaN
  CHECK_MESSAGE(close, what << ": " << actual << ", expected " << expected << " within " << allowed);
}

inline void check_value(double actual, double expected, const std::string& what) {
  check_close(actual, expected, golden_tolerance * std::abs(expected), what);
}

/// A matrix of the file as a flat list.
inline std::vector<double> flat(const nlohmann::json& rows) {
  std::vector<double> values;
  for (const auto& row : rows)
    for (const auto& value : row) values.push_back(value.get<double>());
  return values;
}

/// Every element within the tolerance, relative to the largest one.
inline void check_matrix(const Tensor& actual, const nlohmann::json& rows, const std::string& what) {
  const std::vector<double> expected = flat(rows);
  const auto values = actual.data<float>();
  REQUIRE(values.size() == expected.size());
  double largest = 0.0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < values.size(); ++i)
    check_close(static_cast<double>(values[i]), expected[i], golden_tolerance * largest,
                fmt::format("{}[{}]", what, i));
}

/// [norm, [first three values]] of the file against a tensor in PyTorch's layout. The norm is compared
/// relative to itself, an element relative to the typical element, norm / sqrt(count), or to itself where it
/// is larger.
inline void check_summary(const Tensor& actual, const nlohmann::json& summary, const Jump& jump,
                          const std::string& what) {
  const double expected_norm = summary.at(0).get<double>();
  const auto values = actual.data<float>();
  check_close(norm_of(values), expected_norm, golden_tolerance * expected_norm + jump.norm, what + " norm");
  const double typical = expected_norm / std::sqrt(static_cast<double>(values.size()));
  const auto& first = summary.at(1);
  REQUIRE(first.size() == std::min<std::size_t>(3, values.size()));
  for (std::size_t i = 0; i < first.size(); ++i) {
    const double expected = first[i].get<double>();
    check_close(static_cast<double>(values[i]), expected,
                golden_tolerance * std::max(typical, std::abs(expected)) + jump.element,
                fmt::format("{}[{}]", what, i));
  }
}

}  // namespace generous

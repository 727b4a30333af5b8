// The worst of many differences.
#pragma once

#include <algorithm>
#include <cmath>

namespace generous::testing {

/// The larger one; NaN if either is, which std::max passes over.
inline double worse(double a, double b) { return std::isnan(a) ? a : std::isnan(b) ? b : std::max(a, b); }

}  // namespace generous::testing

// How far tensors of either device are from one another.
#pragma once

#include "tests/core/gradcheck.h"

namespace generous::testing {

/// The largest |found - wanted| over the largest |wanted|.
inline double relative_error(const Tensor& found, const Tensor& wanted) {
  const Tensor a = found.to(Device::cpu);
  const Tensor b = wanted.to(Device::cpu);
  return relative_difference(a, {b.data<float>().begin(), b.data<float>().end()});
}

/// The largest |x|.
inline double largest_of(const Tensor& tensor) {
  const Tensor host = tensor.to(Device::cpu);
  double largest = 0.0;
  for (const float value : host.data<float>())
    largest = std::max(largest, std::abs(static_cast<double>(value)));
  return largest;
}

}  // namespace generous::testing

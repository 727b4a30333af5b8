// Sums over the output of a convolution, made by the convolution itself for the batch norm behind it, which
// then reads its input once instead of twice. A convolution knows what follows it from the last time: a batch
// norm that finds no sums asks for them at the weight.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "core/tensor.h"
#include "cuda/shadows.h"

namespace generous::cuda {

/// The companion of a convolution's output y {N, P, Q, K}.
struct OutputSums final : WorkedOut {
  OutputSums(std::shared_ptr<Shadow> by, std::int64_t size) : weight(std::move(by)), elements(size) {}

  std::shared_ptr<Shadow> weight;  ///< where they are asked for
  std::int64_t elements;           ///< of y
  Tensor sum, square_sum;          ///< {K}: over all pixels, of y and of y^2; undefined: not made
};

/// Those of x; null where x is not all of an output of a convolution that might have made them.
inline OutputSums* sums_of(const Tensor& x) {
  auto* sums = dynamic_cast<OutputSums*>(x.companion().get());
  return sums != nullptr && sums->elements == x.numel() ? sums : nullptr;
}

}  // namespace generous::cuda

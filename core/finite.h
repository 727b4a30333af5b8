// Numbers that are none: where the first NaN or infinity of a tensor is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/safetensors.h"

namespace generous {

/// Of a tensor of floating-point numbers, a value that is NaN or infinite, and its place on each axis.
struct NotFinite {
  std::string value;  ///< nan, inf or -inf
  std::vector<std::int64_t> index;

  /// "nan at {3, 0}"
  std::string str() const;
};

/// The first one of a host tensor, or nothing; integers are always finite.
std::optional<NotFinite> first_not_finite(const Tensor& tensor);

/// Throws Error with the file, the tensor and the place of the first value that is not finite. `source` names
/// the file.
void require_finite(const NamedTensors& tensors, const std::string& source);

}  // namespace generous

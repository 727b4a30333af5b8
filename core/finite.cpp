#include "core/finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops.h"

namespace generous {

std::string NotFinite::str() const { return fmt::format("{} at {{{}}}", value, fmt::join(index, ", ")); }

std::optional<NotFinite> first_not_finite(const Tensor& tensor) {
  if (tensor.dtype() == DType::bf16) return first_not_finite(cast(tensor, DType::f32));
  if (tensor.dtype() != DType::f32) return std::nullopt;
  const std::span<const float> values = tensor.data<float>();
  const auto found = std::ranges::find_if_not(values, [](float value) { return std::isfinite(value); });
  if (found == values.end()) return std::nullopt;
  std::vector<std::int64_t> index(tensor.shape().dims().begin(), tensor.shape().dims().end());
  std::int64_t rest = found - values.begin();
  for (auto place = index.rbegin(); place != index.rend(); ++place) {
    const std::int64_t extent = *place;
    *place = rest % extent;
    rest /= extent;
  }
  const std::string value = std::isnan(*found) ? "nan" : *found > 0 ? "inf" : "-inf";  // a nan has no sign
  return NotFinite{value, std::move(index)};
}

void require_finite(const NamedTensors& tensors, const std::string& source) {
  for (const auto& [name, tensor] : tensors)
    if (const auto bad = first_not_finite(tensor))
      fail("{}: the tensor '{}' has {}: only finite numbers are weights", source, name, bad->str());
}

}  // namespace generous
